"""Connections that are lent for reading."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Boolean, Integer, text

from db.connections import pool
from db.connections.sqlite import SqliteConnection
from db.database import Database, DatabaseOptions, sqlite_url
from db.errors import DatabaseUnavailable
from tests.pgbouncer import not_pooled
from tests.postgres import Postgres

_ONE: Final = text("SELECT 1").columns(one=Integer)
PATIENCE_SECONDS: Final = 0.3


@asynccontextmanager
async def pool_of(size: int, url: str, wait_seconds: float = PATIENCE_SECONDS) -> AsyncIterator[Database]:
    database = Database(DatabaseOptions(url, pool_size=size, lock_timeout_seconds=wait_seconds))
    try:
        yield database
    finally:
        await database.close()


async def _read(database: Database) -> None:
    assert [tuple(row) for row in await database.read(_ONE)] == [(1,)]


@pytest.mark.parametrize("size", [1, 3])
async def test_callers_take_turns_on_the_connections(database_url: str, size: int) -> None:
    async with pool_of(size, database_url, wait_seconds=30) as database:
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


async def _role_with_limit(server: Postgres, limit: int, name: str) -> str:
    role = f"limited_{name}"
    await server.execute(f'CREATE ROLE "{role}" LOGIN CONNECTION LIMIT {limit}')
    await server.execute(f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{role}"', name)
    return role


async def test_a_server_that_gives_no_more_connections_is_waited_for(
    postgres_server: Postgres, postgresql_url: str
) -> None:
    """Six of twenty and more that the pools would like to have: reads, writes and calls in between take turns."""
    name = postgresql_url.split("@/")[1].split("?")[0]
    role = await _role_with_limit(postgres_server, 6, name)

    async def read_long() -> None:
        async with database.snapshot() as snapshot:
            for _ in range(3):
                await snapshot.rows(_ONE)

    async def write() -> None:
        async with database.write() as connection:
            assert (await connection.execute(_ONE)).scalar_one() == 1

    database = Database(DatabaseOptions(postgresql_url.replace(f"{postgres_server.user}@", f"{role}@")))
    try:
        for _ in range(2):
            await asyncio.gather(*(_read(database) for _ in range(100)))
            await asyncio.gather(*(asked() for _ in range(50) for asked in (read_long, write)))
    finally:
        await database.close()
        await postgres_server.execute(f'DROP OWNED BY "{role}"', name)
        await postgres_server.execute(f'DROP ROLE "{role}"')


@not_pooled
async def test_a_pool_grows_again_when_the_server_has_connections_again(
    postgres_server: Postgres, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "REGROW_SECONDS", 0.05)
    name = postgresql_url.split("@/")[1].split("?")[0]
    role = await _role_with_limit(postgres_server, 2, name)
    database = Database(DatabaseOptions(postgresql_url.replace(f"{postgres_server.user}@", f"{role}@"), pool_size=5))

    async def read_slowly() -> None:
        await database.read(text("SELECT pg_sleep(0.2) IS NULL").columns(one=Boolean))

    async def peak() -> int:
        reading = [asyncio.create_task(read_slowly()) for _ in range(10)]
        most = 0
        while not all(one.done() for one in reading):
            most = max(most, database.pools["read"].lent)
            await asyncio.sleep(0.02)
        await asyncio.gather(*reading)
        return most

    try:
        assert await peak() == 2
        await postgres_server.execute(f'ALTER ROLE "{role}" CONNECTION LIMIT -1')
        async with asyncio.timeout(20):
            while await peak() < 5:
                pass
    finally:
        await database.close()
        await postgres_server.execute(f'DROP OWNED BY "{role}"', name)
        await postgres_server.execute(f'DROP ROLE "{role}"')


@pytest.mark.parametrize("backend", ["postgresql"])
async def test_abandoned_statement_is_ended_at_the_server(
    database: Database, postgres_server: Postgres, backend: str
) -> None:
    sleeping = text("SELECT pg_sleep(300) IS NULL").columns(one=Boolean)

    async def read_long() -> None:
        async with database.snapshot() as snapshot:
            await snapshot.rows(sleeping)

    async def write() -> None:
        async with database.write() as connection:
            await connection.execute(sleeping)

    asked = [asyncio.create_task(one) for one in (database.read(sleeping), read_long(), write())]
    running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(300)%'"
    async with asyncio.timeout(20):
        while await postgres_server.fetch_value(running) < 3:  # noqa: ASYNC110  what is waited for is the server's
            await asyncio.sleep(0.05)
        for one in asked:
            one.cancel()
        await asyncio.wait(asked)
        while await postgres_server.fetch_value(running):  # noqa: ASYNC110  what is waited for is the server's
            await asyncio.sleep(0.05)
    assert all(one.cancelled() for one in asked)


async def test_connections_that_are_idle_for_a_while_free_their_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[SqliteConnection] = []
    free = SqliteConnection.free_memory

    async def free_memory(connection: SqliteConnection) -> None:
        freed.append(connection)
        await free(connection)

    monkeypatch.setattr(SqliteConnection, "free_memory", free_memory)
    async with pool_of(3, sqlite_url(tmp_path / "billing.db")) as database:
        async with database.snapshot() as one, database.snapshot() as two, database.snapshot() as three:
            for snapshot in (one, two, three):
                await snapshot.rows(_ONE)
        await database.free_memory()
        assert freed == []
        monkeypatch.setattr(pool, "UNUSED_SECONDS", 0.0)
        async with database.snapshot() as one:
            await one.rows(_ONE)
            await database.free_memory()
        assert len(set(freed)) == 2
        await _read(database)
