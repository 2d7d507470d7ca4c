"""Reads and writes that meet: a read sees one moment; writes wait for each other, or the error says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from db import writes
from db.connections.snapshots import SnapshotClosed
from db.database import Database, DatabaseOptions, WriteConnection
from db.errors import TransactionConflict
from tests.postgres import Postgres

_WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


@pytest.fixture(params=["read committed", "repeatable read", "serializable"])
async def accounts(
    request: pytest.FixtureRequest, postgres_server: Postgres, postgres_template: str
) -> AsyncIterator[Database]:
    """Accounts 1 and 2, on a server with this isolation by default."""
    name = await postgres_server.new_database(postgres_template)
    await postgres_server.execute(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = '{request.param}'")
    database = Database(DatabaseOptions(postgres_server.url(name)))
    async with database.write() as connection:
        await connection.execute(
            text("INSERT INTO accounts (id, name, created_at) VALUES (1, 'a', now()), (2, 'b', now())")
        )
    yield database
    await database.close()


async def _names(database: Database) -> list[str]:
    return [row[0] for row in await database.read(text("SELECT name FROM accounts ORDER BY id"))]


async def _append(connection: WriteConnection, account_id: int, letter: str) -> None:
    await connection.execute(
        text("UPDATE accounts SET name = name || :letter WHERE id = :id"), {"letter": letter, "id": account_id}
    )


async def _until_waiting(database: Database) -> None:
    async with asyncio.timeout(10):
        while not (await database.read(_WAITING))[0][0]:  # noqa: ASYNC110 - the event is the server's
            await asyncio.sleep(0.01)


async def test_write_sees_the_changes_that_it_waited_for(accounts: Database) -> None:
    async def second() -> str:
        async with accounts.write() as connection:
            await _append(connection, 1, "2")
            return str((await connection.execute(text("SHOW transaction_isolation"))).scalar_one())

    async with accounts.write() as connection:
        await _append(connection, 1, "1")
        waiting = asyncio.create_task(second())
        await _until_waiting(accounts)
    assert await waiting == "read committed"
    assert await _names(accounts) == ["a12", "b"]


async def test_one_of_two_writes_in_a_deadlock_commits_and_the_other_fails(accounts: Database) -> None:
    both = asyncio.Barrier(2)

    async def cross(first: int, second: int) -> None:
        async with accounts.write() as connection:
            await _append(connection, first, "x")
            await both.wait()
            await _append(connection, second, "x")

    results = await asyncio.gather(cross(1, 2), cross(2, 1), return_exceptions=True)
    conflicts = [result for result in results if result is not None]
    assert [(type(one), str(one)) for one in conflicts] == [
        (TransactionConflict, "a concurrent transaction conflicted (SQLSTATE 40P01): nothing was written, try again")
    ]
    assert await _names(accounts) == ["ax", "bx"]


async def test_serialization_failure_raises_an_error(accounts: Database) -> None:
    with pytest.raises(TransactionConflict, match="SQLSTATE 40001"):
        async with accounts.write() as connection:
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            await connection.execute(text("SELECT 1 FROM accounts"))
            async with accounts.write() as other:
                await _append(other, 1, "1")
            await _append(connection, 1, "2")
    assert await _names(accounts) == ["a1", "b"]


async def test_snapshot_shows_one_moment(database: Database) -> None:
    count = text("SELECT count(*) FROM accounts")
    async with database.snapshot() as snapshot:
        before = await snapshot.rows(count)
        async with database.write() as connection:
            await writes.insert_account(
                connection, external_id=None, name="meanwhile", created_at=datetime(2026, 11, 23, tzinfo=UTC)
            )
        assert await snapshot.rows(count) == before
    assert (await database.read(count))[0][0] == before[0][0] + 1


@pytest.mark.parametrize("brief", [False, True])
async def test_closed_snapshot_takes_no_connection(database: Database, brief: bool) -> None:
    """What a failed operation left running may ask once more."""
    one = text("SELECT 1")
    async with database.snapshot(brief=brief) as snapshot:
        assert [tuple(row) for row in await snapshot.rows(one)] == [(1,)]
    with pytest.raises(SnapshotClosed):
        await snapshot.rows(one)
