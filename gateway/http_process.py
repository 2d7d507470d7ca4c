"""One worker of `billing-gateway serve --workers N`.

Its settings come on standard input. Its argument is the number of a file that it writes to when it listens.
"""

from __future__ import annotations

import contextlib
import os
import sys

import orjson

from gateway.logs import configure_logs
from gateway.serve import serve_here
from gateway.settings import Settings


def main() -> None:
    settings = Settings(**orjson.loads(sys.stdin.buffer.read()))
    configure_logs(settings)
    serve_here(settings, lambda address: _tell(int(sys.argv[1]), address))


def _tell(file: int, address: str) -> None:
    """The supervisor waits only for its first workers."""
    with contextlib.suppress(BrokenPipeError):
        os.write(file, address.encode())
    os.close(file)


if __name__ == "__main__":
    main()
