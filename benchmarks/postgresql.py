"""The throw-away PostgreSQL that is measured on: its processes and its version."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil

from benchmarks.servers import cpu_seconds
from tests.postgres import Postgres


def postmaster(server: Postgres) -> psutil.Process:
    """The socket lies in the data folder, beside the file that names the process."""
    return psutil.Process(int((Path(server.host) / "postmaster.pid").read_text().split()[0]))


class DatabaseProcesses:
    """The processes of a PostgreSQL server that this process started."""

    def __init__(self, postmaster: psutil.Process | None) -> None:
        self._postmaster = postmaster

    def times(self) -> dict[int, float]:
        """CPU seconds by process."""
        found = {}
        for child in self._postmaster.children() if self._postmaster else ():
            with suppress(psutil.NoSuchProcess):
                found[child.pid] = cpu_seconds(child)
        return found

    def since(self, before: dict[int, float]) -> float:
        return sum(seconds - before.get(pid, 0.0) for pid, seconds in self.times().items())


async def version(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        text, fsync = await connection.fetchval("SHOW server_version"), await connection.fetchval("SHOW fsync")
    finally:
        await connection.close()
    return f"PostgreSQL {text} on a Unix socket (fsync {fsync})"
