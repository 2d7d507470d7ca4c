"""Of several workers one holds the lock, and whoever dies sets it free."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import text

from db.database import Database, DatabaseOptions

DB = Path(__file__).parents[2] / "db"


async def test_one_at_a_time(database: Database, database_url: str) -> None:
    other = Database(DatabaseOptions(database_url))
    first, second = database.worker_lock(), other.worker_lock()
    assert await first.acquire()
    assert await first.acquire()
    assert (await first.is_held(), await second.is_held()) == (True, False)
    assert not await second.acquire()
    await first.release()
    assert not await first.is_held()
    assert await second.acquire()
    await second.release()
    await other.close()


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_a_connection_that_is_lost_loses_the_lock(database: Database) -> None:
    lock, other = database.worker_lock(), database.worker_lock()
    assert await lock.acquire()
    statement = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    async with database.write() as connection:
        assert (await connection.execute(text(statement))).scalars().all() == [True]
    assert not await lock.is_held()
    assert await other.acquire()
    await other.release()


def test_no_two_locks_have_the_same_number() -> None:
    """One that is held for hours must not be the one that a moment's work waits for."""
    numbers = [one for path in DB.rglob("*.py") for one in re.findall(r"= (7_245_\d{3}_\d{3})", path.read_text())]
    assert len(numbers) == len(set(numbers)) == 3
