"""A gateway in a process of its own, with settings of its own, for tests of what clients do to it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import psutil

from db.database import sqlite_url

T = TypeVar("T")


def awaited(look: Callable[[], T | None], seconds: float = 30) -> T:
    """What another process brings about."""
    for _ in range(int(seconds * 20)):
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError("it never came")


@dataclass
class Gateway:
    process: psutil.Popen
    port: int
    log_path: Path
    key: str
    """Of an operator."""
    database_url: str
    connections: list[socket.socket] = field(default_factory=list)

    def connect(self) -> socket.socket:
        """Closed in the end, at the latest."""
        self.connections.append(socket.create_connection(("127.0.0.1", self.port), 10))
        return self.connections[-1]

    def sent(self, request: bytes) -> socket.socket:
        connection = self.connect()
        connection.sendall(request)
        return connection

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]

    def is_answered(self) -> bool:
        with contextlib.suppress(OSError), self.sent(get("/healthz", "Connection: close")) as connection:
            return connection.makefile("rb").read().startswith(b"HTTP/1.1 200")
        return False

    def metric(self, line: str) -> float:
        with self.sent(get("/metrics", "Connection: close", host="localhost")) as connection:
            text = connection.makefile("rb").read().decode()
        match = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
        return float(match[1]) if match else 0.0

    @property
    def rss_mib(self) -> float:
        return float(self.process.memory_info().rss / 2**20)


def get(path: str, *headers: str, host: str = "x") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


def post(path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: x",
        "Content-Type: application/json",
        *headers,
        f"Content-Length: {len(body) if length is None else length}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def is_closed(connection: socket.socket) -> bool:
    """Whether the server closed it; what it sent before is read."""
    connection.setblocking(False)
    try:
        while connection.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def abort(connection: socket.socket) -> None:
    """By a reset, as clients end that crash or give up."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


@contextlib.contextmanager
def serving(
    template: Path, folder: Path, settings: Mapping[str, object] = MappingProxyType({}), *before: str
) -> Iterator[Gateway]:
    """`before` stands before the command, as `prlimit` does."""
    url = sqlite_url(Path(shutil.copy(template, folder)))
    given = {f"BILLING_{name.upper()}": str(value) for name, value in settings.items()}
    command, environment = [sys.executable, "-m", "gateway.cli"], os.environ | {"BILLING_DATABASE_URL": url} | given
    new_key = [*command, "keys", "create", "--scope", "operator", "--owner", "tests"]
    key = subprocess.run(new_key, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    path = folder / "log"
    with path.open("wb") as file:
        process = psutil.Popen([*before, *command, "serve", "--port", "0"], env=environment, stderr=file)
    try:
        match = awaited(lambda: re.search(r'"address": ?"http://127.0.0.1:(\d+)"', path.read_text()))
        gateway = Gateway(process, int(match[1]), path, key, url)
        try:
            yield gateway
        finally:
            for connection in gateway.connections:
                connection.close()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(40) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
