"""SQLite signals: the file itself shows that another connection has written to it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import aiosqlite

from db.errors import translated
from db.feed.signals import OnPosted


class SqliteSignals:
    """Polls `PRAGMA data_version`, which changes when any connection except the polling one commits. The polling
    connection is therefore kept for this purpose only."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._connection: aiosqlite.Connection | None = None
        self._version: int | None = None

    def announce(self, account_ids: Collection[int]) -> None:
        """Does nothing, because the write itself changed the file."""

    def listen(self, on_posted: OnPosted) -> None:
        """Does nothing, because SQLite does not send notifications."""

    async def may_have_moved(self) -> bool:
        with translated():
            if self._connection is None:
                self._connection = await aiosqlite.connect(self._file, isolation_level=None)
            async with self._connection.execute("PRAGMA data_version") as cursor:
                row = await cursor.fetchone()
        assert row is not None
        before, self._version = self._version, row[0]
        return before != self._version

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
