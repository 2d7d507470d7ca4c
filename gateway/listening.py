"""The address that a process listens on."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[None]:
    """Raises an OSError that names the address where it cannot be listened on."""
    try:
        yield
    except OSError as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        msg = f"cannot listen on {host}:{port}: {reason}"
        raise OSError(error.errno, msg) from error


@contextlib.contextmanager
def reserved(host: str, port: int) -> Iterator[None]:
    """Holds the address for processes that share it: one that is taken is refused here, not by each of them again."""
    with contextlib.ExitStack() as stack:
        with listening(host, port):
            found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, kind, protocol, _, address in found:
                held = stack.enter_context(socket.socket(family, kind, protocol))
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                held.bind(address)
        yield
