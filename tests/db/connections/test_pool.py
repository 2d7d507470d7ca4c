"""Connections that are lent for reading."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest
from sqlalchemy import Integer, text

from db.database import Database, DatabaseOptions
from db.errors import DatabaseUnavailable

_ONE: Final = text("SELECT 1").columns(one=Integer)
PATIENCE_SECONDS: Final = 0.3


@asynccontextmanager
async def pool_of(size: int, url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseOptions(url, pool_size=size, lock_timeout_seconds=PATIENCE_SECONDS))
    try:
        yield database
    finally:
        await database.close()


async def _read(database: Database) -> None:
    assert [tuple(row) for row in await database.read(_ONE)] == [(1,)]


@pytest.mark.parametrize("size", [1, 3])
async def test_callers_take_turns_on_the_connections(database_url: str, size: int) -> None:
    async with pool_of(size, database_url) as database:
        await asyncio.gather(*(_read(database) for _ in range(50)))


async def test_caller_that_waits_too_long_fails_and_takes_no_connection(database_url: str) -> None:
    async with pool_of(1, database_url) as database:
        async with database.snapshot() as snapshot:
            await snapshot.rows(_ONE)
            with pytest.raises(DatabaseUnavailable, match="became free in time"):
                await database.read(_ONE)
        await _read(database)


async def test_waiting_callers_may_be_cancelled(database_url: str) -> None:
    async with pool_of(1, database_url) as database:
        for _ in range(20):
            async with database.snapshot() as snapshot:
                await snapshot.rows(_ONE)
                waiting = [asyncio.create_task(_read(database)) for _ in range(4)]
                await asyncio.sleep(0)
                waiting[0].cancel()
            # Its turn has come, and it leaves before it has noticed.
            waiting[1].cancel()
            found = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(one) for one in found[2:]] == [type(None)] * 2
        await _read(database)
