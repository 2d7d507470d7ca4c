"""One worker of `billing-gateway serve --workers N`; its settings come on standard input."""

from __future__ import annotations

import sys

import orjson

from gateway.logs import configure_logs
from gateway.serve import serve_here
from gateway.settings import Settings


def main() -> None:
    settings = Settings(**orjson.loads(sys.stdin.buffer.read()))
    configure_logs(settings)
    serve_here(settings, lambda _address: None)


if __name__ == "__main__":
    main()
