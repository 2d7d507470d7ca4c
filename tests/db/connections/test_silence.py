"""A server that hangs, a host that is lost without a word: whoever waits is told, and all goes on when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from sqlalchemy import Float, Integer, text

from db.database import Database, DatabaseOptions
from db.errors import DatabaseUnavailable
from db.writes import lock_accounts
from tests import tcp_proxy
from tests.ledger.desk import Desk, api_usage
from tests.postgres import Postgres
from tests.tcp_proxy import TcpProxy

_ONE: Final = text("SELECT 1").columns(one=Integer)
_SLEEP: Final = text("SELECT pg_sleep(3) IS NULL, 3").columns(no=Integer, seconds=Float)
GUARD_SECONDS: Final = 30
"""No answer came at all within twice this time."""


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[Database]:
    database = Database(DatabaseOptions(url, **options))
    try:
        yield database
    finally:
        async with asyncio.timeout(GUARD_SECONDS):
            await database.close()


async def _read(database: Database) -> None:
    assert [tuple(row) for row in await database.read(_ONE)] == [(1,)]


async def _read_long(database: Database) -> None:
    async with database.snapshot() as snapshot:
        for _ in range(2):
            assert [tuple(row) for row in await snapshot.rows(_ONE)] == [(1,)]


async def _write(database: Database) -> None:
    async with database.write() as connection:
        assert (await connection.execute(_ONE)).scalar_one() == 1


async def _is_refused(asked: Awaitable[object]) -> bool:
    try:
        async with asyncio.timeout(GUARD_SECONDS):
            await asked
    except DatabaseUnavailable:
        return True
    return False


async def _answers_again(asked: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(GUARD_SECONDS):
        while await _is_refused(asked()):  # noqa: ASYNC110  what is waited for is the server's
            await asyncio.sleep(0.05)


async def _all(database: Database, desk: Desk, account_id: int) -> list[bool]:
    asked = [f(database) for f in (_read, _read_long, _write) for _ in range(5)]
    posted = [desk.post(account_id, api_usage(1)) for _ in range(3)]
    return await asyncio.gather(*map(_is_refused, [*asked, *posted]))


async def test_a_server_that_hangs_keeps_nobody_waiting(postgres_server: Postgres, postgresql_url: str) -> None:
    async with opened(postgresql_url) as database:
        desk = Desk(database)
        account_id = await desk.account("1.00")
        assert not any(await _all(database, desk, account_id))
        follower = await database.changes.follow(account_id, None)
        assert follower is not None
        await follower.next()
        lock = database.worker_lock()
        assert await lock.acquire()
        with postgres_server.frozen():
            assert all(await _all(database, desk, account_id))
            # What comes later does not wait at all; nor does what connects anew.
            assert all(await _all(database, desk, account_id))
            assert not await asyncio.wait_for(lock.is_held(), GUARD_SECONDS)
        for asked in (_read, _read_long, _write):
            await _answers_again(lambda asked=asked: asked(database))  # type: ignore[misc]
        assert not any(await _all(database, desk, account_id))
        assert (await asyncio.wait_for(follower.next(), GUARD_SECONDS)).seq > 1
        follower.close()
        assert await lock.acquire()
        await lock.release()


async def test_a_database_that_hangs_is_closed(postgres_server: Postgres, postgresql_url: str) -> None:
    async with opened(postgresql_url) as database:
        await asyncio.gather(*(asked(database) for asked in (_read, _read_long, _write) for _ in range(10)))
        with postgres_server.frozen():
            async with asyncio.timeout(GUARD_SECONDS):
                await database.close()


async def test_a_long_statement_is_no_silence(postgresql_url: str) -> None:
    async with opened(postgresql_url, silence_seconds=0.5) as database:
        assert [row[1] for row in await database.read(_SLEEP)] == [3]
        async with database.write() as connection:
            assert (await connection.execute(_SLEEP)).one()[1] == 3


async def test_a_statement_that_outlives_the_server_s_limit_is_ended(postgresql_url: str) -> None:
    async with opened(postgresql_url, statement_timeout_seconds=60) as database:
        with pytest.raises(DatabaseUnavailable):
            async with asyncio.timeout(GUARD_SECONDS), database.write() as connection:
                driver_connection: Any = (await connection.get_raw_connection()).driver_connection
                driver_connection.max_seconds = 0.5
                await connection.execute(text("SELECT pg_sleep(60)"))
        await _write(database)


@asynccontextmanager
async def through_proxy(server: Postgres, url: str) -> AsyncIterator[tuple[Database, TcpProxy]]:
    name = url.split("@/")[1].split("?")[0]
    async with (
        tcp_proxy.before(server) as proxy,
        opened(f"postgresql://{server.user}@127.0.0.1:{proxy.port}/{name}?sslmode=disable") as database,
    ):
        yield database, proxy


async def test_connections_that_were_lost_on_the_way_are_made_anew(
    postgres_server: Postgres, postgresql_url: str
) -> None:
    async with through_proxy(postgres_server, postgresql_url) as (database, proxy):
        desk = Desk(database)
        account_id = await desk.account("1.00")
        assert not any(await _all(database, desk, account_id))
        proxy.lose_all()
        assert any(await _all(database, desk, account_id))
        for asked in (_read, _read_long, _write):
            await _answers_again(lambda asked=asked: asked(database))  # type: ignore[misc]
        assert not any(await _all(database, desk, account_id))


async def test_a_host_that_says_nothing_is_asked_until_it_answers(
    postgres_server: Postgres, postgresql_url: str
) -> None:
    async with through_proxy(postgres_server, postgresql_url) as (database, proxy):
        proxy.silent = True
        assert all(await asyncio.gather(*(_is_refused(_read(database)) for _ in range(20))))
        assert not database.is_reachable
        # One asks, not everybody.
        assert proxy.connections < 20
        proxy.silent = False
        await _answers_again(lambda: _read(database))
        assert database.is_reachable


async def test_locks_of_a_lost_connection_are_released(postgres_server: Postgres, postgresql_url: str) -> None:
    """The server does not know that its client is gone: it would keep the transaction for a minute."""
    async with through_proxy(postgres_server, postgresql_url) as (database, proxy):
        desk = Desk(database)
        account_id = await desk.account("1.00")

        async def write_and_lose() -> None:
            async with database.write() as connection:
                await lock_accounts(connection, [account_id])
                proxy.lose_all()
                await connection.execute(_ONE)

        assert await _is_refused(write_and_lose())
        await _answers_again(lambda: desk.post(account_id, api_usage(1)))
