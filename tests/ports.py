"""Ports for programs that a test starts later, or more than once."""

from __future__ import annotations

import socket
from random import Random
from typing import Final

PORTS: Final = range(20_000, 32_000)
"""Below those that the system gives out by itself: until the program listens, nobody takes its port."""

_random = Random()


def free_port() -> int:
    while True:
        port = _random.choice(PORTS)
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
