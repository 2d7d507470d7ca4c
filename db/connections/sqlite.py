"""SQLite connections: the settings of each, and the connections that are lent for reading."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import aiosqlite

_KEPT_STATEMENTS: Final = 512
"""Statements kept. Each combination of reads that are sent together is prepared separately."""


def keep_private(file: Path) -> None:
    """Creates a file that is not there, for its owner only. SQLite gives the files beside it the same mode.

    Where it cannot be created, opening it says why.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


STUCK_SECONDS: Final = 1.0
"""How long a statement may go on after it was interrupted."""


def prepare(connection: Any) -> None:
    """Prepares a connection of SQLAlchemy or of the driver. The two have no common type."""
    cursor = connection.cursor()
    # FULL, although WAL would allow NORMAL, so that an acknowledged commit also survives a power cut.
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "cache_size = -32768",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


class SqliteConnection:
    """A connection lent by a `ReadPool`. Its statements run in a separate thread."""

    def __init__(
        self, connection: aiosqlite.Connection, driver_connection: sqlite3.Connection, longest_seconds: float
    ) -> None:
        self._connection = connection
        self._driver_connection = driver_connection
        self._longest_seconds = longest_seconds
        self._closed = False
        self.is_lent = True

    async def fetch(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Returns all rows, in one turn of the thread."""
        late = asyncio.get_running_loop().call_later(self._longest_seconds, self._driver_connection.interrupt)
        try:
            # A disk that does not answer is not interrupted: then the thread is left to itself.
            async with asyncio.timeout(self._longest_seconds + STUCK_SECONDS):
                return list(await self._connection.execute_fetchall(statement, parameters))
        finally:
            late.cancel()

    async def execute(self, statement: str) -> None:
        await self.fetch(statement)

    async def free_memory(self) -> None:
        """Frees the pages of the file that it has read, of up to 32 MiB."""
        await self.execute("PRAGMA shrink_memory")

    def is_in_transaction(self) -> bool:
        return self._driver_connection.in_transaction

    def is_closed(self) -> bool:
        return self._closed

    def terminate(self) -> None:
        """Closes without waiting for the running statement: SQLite stops it at its next step."""
        self._closed = True
        self._driver_connection.interrupt()
        self._connection.stop()

    def abandon(self) -> None:
        self.terminate()

    async def close(self, *, timeout: float) -> None:  # noqa: ASYNC109  as asyncpg's
        self._closed = True
        async with asyncio.timeout(timeout):
            await self._connection.close()


async def connect(
    file: Path,
    *,
    lock_seconds: float,
    longest_seconds: float,
    connection_class: type[SqliteConnection] = SqliteConnection,
) -> SqliteConnection:
    """Connects. A read waits `lock_seconds` for another program's lock on the file, and may take `longest_seconds`."""
    opened: list[sqlite3.Connection] = []

    def open_it() -> sqlite3.Connection:
        keep_private(file)
        connection = sqlite3.connect(
            file, timeout=lock_seconds, isolation_level=None, cached_statements=_KEPT_STATEMENTS
        )
        opened.append(connection)
        prepare(connection)
        connection.execute("PRAGMA query_only = ON")
        return connection

    connection = await aiosqlite.Connection(open_it, iter_chunk_size=64)
    return connection_class(connection, opened[0], longest_seconds)
