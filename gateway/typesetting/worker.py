"""Typesets a statement: reads its parts as lines of JSON, and writes one PDF file. With languages as
arguments, writes those that it has fonts for instead.

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
from collections.abc import Collection, Iterable
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

LATIN: Final = "Libertinus Serif"
"""One of Typst's own."""
JAPANESE: Final = (
    "Noto Serif CJK JP",
    "Noto Serif JP",
    "Noto Sans CJK JP",
    "Noto Sans JP",
    "IPAexMincho",
    "IPAPMincho",
    "IPAexGothic",
    "IPAPGothic",
    "IPAGothic",
    "TakaoPGothic",
    "VL PGothic",
)
"""Families of the machine, the most wanted first. None is small enough to come with the gateway."""


def fonts_for(language: str, families: Collection[str]) -> list[str]:
    """Returns the fonts of a language, the first choice first; none if the machine lacks them."""
    if language != "ja":
        return [LATIN]
    found = next((one for one in JAPANESE if one in families), None)
    return [LATIN, found] if found else []


def languages(asked: Iterable[str], families: Collection[str]) -> list[str]:
    return [language for language in asked if fonts_for(language, families)]


def typeset(parts: BinaryIO, written: BinaryIO) -> None:
    """Each part has its rows; the first has the head, too."""
    template, fonts, writer = TEMPLATE.read_bytes(), typst.Fonts(), PdfWriter()
    families = fonts.families()
    for line in parts:
        part = json.loads(line)
        part |= {"first_page": len(writer.pages) + 1, "fonts": fonts_for(part["lang"], families)}
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
    if asked := sys.argv[1:]:
        sys.stdout.write(" ".join(languages(asked, typst.Fonts().families())))
    else:
        typeset(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
