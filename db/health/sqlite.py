from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, NullPool, create_engine, func, select

from db import tables
from db.clocks import Clock
from db.connections.engines import CHECK_SECONDS
from db.errors import DatabaseError, DatabaseUnavailable, translated
from db.health.health import OK, UNKNOWN, Health, readable, schema_of
from db.health.shared import SharedCheck, in_thread
from db.schema_version import NO_TABLES

MIN_FREE_BYTES: Final = 1_048_576
CORRUPTION_SECONDS: Final = 60.0
"""How long a file that was read whole is taken to be as it was found; at least `CORRUPTION_SHARE` times as long as that
took."""
CORRUPTION_SHARE: Final = 100
CORRUPTION_LIMIT_SECONDS: Final = 10.0
"""A file that takes longer to be read whole is not checked."""


class SqliteHealth:
    def __init__(self, file: Path, *, knows_archive: bool) -> None:
        self._file = file
        self._knows_archive = knows_archive
        self._shared = SharedCheck(self._look)
        self._corrupt = UNKNOWN
        self._corrupt_until = 0.0
        self._reading_whole: asyncio.Future[tuple[str, float]] | None = None

    async def look(self, clock: Clock) -> Health:
        return await self._shared.look(clock)

    async def _look(self, _clock: Clock) -> Health:
        health = await in_thread(self._looked_at)
        if health.schema != OK:
            return health
        return replace(health, corrupt=await self._corruption())

    def _looked_at(self) -> Health:
        # Connecting to a missing file would create an empty one.
        if not self._file.exists():
            return Health(reachable=OK, schema=str(NO_TABLES))
        engine = create_engine(
            URL.create("sqlite", database=str(self._file)),
            poolclass=NullPool,
            connect_args={"timeout": CHECK_SECONDS, "isolation_level": None},
        )
        health = Health()
        try:
            with translated(), engine.connect() as connection:
                # Opening reads nothing yet.
                connection.exec_driver_sql("PRAGMA schema_version")
                health = replace(health, reachable=OK)
                schema, found = schema_of(connection)
                health = replace(health, schema=schema, tables=found)
                if found is not None:
                    newest = connection.scalar(select(func.max(tables.accounts.c.head_at, type_=tables.timestamp())))
                    health = replace(health, newest_row=newest)
                    health = replace(health, readable=readable(connection, knows_archive=self._knows_archive))
                    writable = _sqlite_refusal(connection)
                    health = replace(health, writable=writable, disk=self._disk())
        except DatabaseError as error:
            return health.failed(str(error))
        return health

    def _disk(self) -> str:
        """The log that the file has already takes writes when the disk is full, but only for a while."""
        found = os.statvfs(self._file.parent)
        return OK if found.f_bavail * found.f_frsize >= MIN_FREE_BYTES else "the database's disk is full"

    async def _corruption(self) -> str:
        now = asyncio.get_running_loop().time()
        if self._reading_whole is None and now >= self._corrupt_until:
            self._reading_whole = in_thread(self._read_whole)
            self._reading_whole.add_done_callback(self._note_corruption)
        if self._reading_whole is not None and self._corrupt == UNKNOWN:
            await asyncio.wait([self._reading_whole], timeout=CHECK_SECONDS / 2)
        return self._corrupt

    def _note_corruption(self, found: asyncio.Future[tuple[str, float]]) -> None:
        self._reading_whole = None
        if not found.cancelled():
            self._corrupt, seconds = found.result()
            pause = max(CORRUPTION_SECONDS, CORRUPTION_SHARE * seconds)
            self._corrupt_until = found.get_loop().time() + pause

    def _read_whole(self) -> tuple[str, float]:
        """Whether the file is sound, and the seconds that it took to find out."""
        began = time.monotonic()
        try:
            with translated(), closing(sqlite3.connect(self._file)) as connection:
                end = threading.Timer(CORRUPTION_LIMIT_SECONDS, connection.interrupt)
                end.daemon = True
                end.start()
                try:
                    (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                finally:
                    end.cancel()
            found = OK if said == "ok" else "the database's file is damaged (quick_check)"
        except DatabaseUnavailable as error:
            found = str(error)
        except DatabaseError:
            found = UNKNOWN
        return found, time.monotonic() - began

    async def close(self) -> None:
        await self._shared.close()


def _sqlite_refusal(connection: Connection) -> str:
    """Writes more than the cache holds, so that the file and its disk must take it, and takes it back: at the latest
    when the connection is closed."""
    try:
        with translated():
            connection.exec_driver_sql("PRAGMA cache_size = 10")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.exec_driver_sql("CREATE TABLE health_check (filled BLOB)")
            connection.exec_driver_sql("INSERT INTO health_check VALUES (zeroblob(262144))")
            connection.exec_driver_sql("ROLLBACK")
    except DatabaseError as error:
        return str(error)
    return OK
