"""Typesets a statement: reads its parts as lines of JSON, and writes one PDF file.

This is a program of its own, and sets each part in a process that ends with it: Typst keeps memory in proportion to all
rows that it has set, and cannot be interrupted. Neither grows with the length of the statement. Imports nothing of the
gateway.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

import typst
from pypdf import PdfReader, PdfWriter

TEMPLATE: Final = Path(__file__).with_name("statement.typ")
MAX_ADDRESS_SPACE: Final = 2 * 1024**3
"""Bytes of a process. A part takes a fraction of this; the limit is for what nobody thought of."""
_NICENESS: Final = 10
"""Queries come before statements."""


def typeset(parts: BinaryIO, written: BinaryIO) -> None:
    """Each part has its rows; the first has the head, too."""
    template, fonts, writer = TEMPLATE.read_bytes(), typst.Fonts(), PdfWriter()
    for line in parts:
        part = json.loads(line) | {"first_page": len(writer.pages) + 1}
        writer.append(PdfReader(io.BytesIO(_typeset_apart(template, fonts, part))), import_outline=False)
    writer.write(written)


def _typeset_apart(template: bytes, fonts: typst.Fonts, part: dict[str, Any]) -> bytes:
    """Returns the PDF file of a part, made by a child of this process."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _child(template, fonts, part, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        pdf = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"a part was not typeset: its process ended with status {status}")
    return pdf


def _child(template: bytes, fonts: typst.Fonts, part: dict[str, Any], writing: int) -> NoReturn:
    status = 1
    try:
        at = datetime.fromtimestamp(part["timestamp"], UTC)
        given = {"data": json.dumps(part)}
        pdf = typst.compile(template, font_paths=fonts, sys_inputs=given, format="pdf", timestamp=at, pdf_tags=False)
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(pdf)
        status = 0
    except BaseException as error:  # noqa: BLE001  nothing of the parent's stack may run in the child
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
    finally:
        os._exit(status)


def main() -> None:
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_SPACE, MAX_ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    typeset(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
