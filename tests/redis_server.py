"""A real Redis on a socket of its own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

PROGRAM: Final = shutil.which("redis-server")
PASSWORD: Final = "redis-probe-0123456789"

needs_redis: Final = pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed")


class RedisServer:
    """Can be started again, with nothing of what it had."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}?db=0&password={PASSWORD}"

    def start(self) -> None:
        assert PROGRAM is not None
        arguments = ["--port", "0", "--unixsocket", str(self._socket), "--requirepass", PASSWORD]
        command = [PROGRAM, *arguments, "--save", "", "--appendonly", "no", "--dir", str(self._socket.parent)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(500):
            if self._socket.is_socket():
                return
            assert self._process.poll() is None
            time.sleep(0.01)
        raise AssertionError("Redis did not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None
            self._socket.unlink(missing_ok=True)

    @contextmanager
    def hung(self) -> Iterator[None]:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@contextmanager
def started() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="billing-redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
