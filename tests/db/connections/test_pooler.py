"""The database through a real PgBouncer in transaction mode, which lends two connections of the server to all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final

import asyncpg
import pytest
from sqlalchemy import Integer, bindparam, literal, select, text

from db.database import Database, DatabaseOptions
from db.errors import DatabaseUnavailable, LockUnavailable
from ledger.accounts import Accounts
from ledger.commands import Entry, Posting, Writer
from ledger.kinds import TransactionType, WriterKind
from ledger.posting import Ledger
from tests import pgbouncer
from tests.pgbouncer import PgBouncer

pytestmark = pytest.mark.skipif(pgbouncer.PROGRAM is None, reason="pgbouncer is not installed")


@pytest.fixture
def pooler(postgresql_url: str) -> Iterator[PgBouncer]:
    with pgbouncer.started(postgresql_url, size=2) as pooler:
        yield pooler


LOCK_SECONDS: Final = {"patient": 61.25, "hasty": 0.75}


@pytest.fixture(params=["patient"])
async def pooled(
    postgresql_url: str, pooler: PgBouncer, request: pytest.FixtureRequest
) -> AsyncIterator[list[Database]]:
    """Two processes' databases."""
    seconds = LOCK_SECONDS[request.param]
    options = DatabaseOptions(pooler.url(postgresql_url), direct_url=postgresql_url, lock_timeout_seconds=seconds)
    databases = [Database(options), Database(options)]
    yield databases
    await asyncio.gather(*(database.close() for database in databases))


async def test_no_client_gets_the_answer_to_anothers_statement(pooled: list[Database]) -> None:
    async def one(number: int) -> None:
        database = pooled[number % 2]
        # Equally many columns and parameters: mixed up, they would answer without an error.
        statement = select(literal(number, Integer()), bindparam("given", type_=Integer()))
        assert [tuple(row) for row in await database.read(statement, {"given": -number})] == [(number, -number)]
        async with database.write() as connection:
            assert (await connection.execute(statement, {"given": number})).all() == [(number, number)]
        async with database.snapshot() as snapshot:
            assert await snapshot.rows(statement, {"given": 1}) == [(number, 1)]
            assert await snapshot.rows(text(f"SELECT {number}").columns()) == [(number,)]

    await asyncio.gather(*(one(number) for number in range(200)))


async def test_settings_hold_in_transactions_and_nothing_stays_behind(
    pooled: list[Database], pooler: PgBouncer, postgresql_url: str
) -> None:
    shown = "SELECT current_setting('lock_timeout'), current_setting('jit'), current_setting('enable_seqscan')"
    async with pooled[0].write() as connection:
        assert (await connection.execute(text(shown))).one() == ("61250ms", "off", "on")
    async with pooled[0].lent() as posting:
        assert tuple(await posting.fetchrow(shown)) == ("61250ms", "off", "off")
    stranger = await asyncpg.connect(pooler.url(postgresql_url), statement_cache_size=0)
    try:
        for _ in range(4):
            assert tuple(await stranger.fetchrow(shown)) == ("0", "on", "on")
            assert await stranger.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''") == 0
            assert await stranger.fetchval("SELECT current_setting('timezone')") != ""
    finally:
        await stranger.close()


async def test_rows_are_posted_and_announced_to_the_other_process(pooled: list[Database]) -> None:
    account = (await Accounts(pooled[0]).create("Account")).id
    follower = await pooled[1].changes.follow(account, None)
    assert follower is not None
    ledger = Ledger(pooled[0])
    writer = Writer(WriterKind.OPERATOR, "tests")
    entry = Entry(TransactionType.ADMIN_CORRECTION, 1_000, "Opening balance")
    await asyncio.gather(*(ledger.post(Posting(account, writer, [entry], f"key-{number}")) for number in range(20)))
    async with asyncio.timeout(20):
        while (await follower.next()).seq < 20:
            pass
    follower.close()


async def test_one_of_two_workers_has_the_lock_until_it_ends(pooled: list[Database]) -> None:
    first, second = (database.worker_lock() for database in pooled)
    assert await first.acquire()
    assert not await second.acquire()
    await first.release()
    assert await second.acquire()
    await second.release()


@pytest.mark.parametrize("pooled", ["hasty"], indirect=True)
async def test_a_locked_row_is_waited_for_no_longer_than_the_setting(pooled: list[Database]) -> None:
    await Accounts(pooled[0]).create("Account")
    locked = text("SELECT id FROM accounts FOR UPDATE")
    async with pooled[0].write() as connection:
        await connection.execute(locked)
        async with pooled[1].lent() as posting:
            with pytest.raises(asyncpg.LockNotAvailableError):
                await posting.fetch(str(locked))
            # It has left the transaction, and serves the next one.
            assert await posting.fetchval("SELECT 1") == 1
        with pytest.raises(LockUnavailable):
            async with pooled[1].write() as waiting:
                await waiting.execute(locked)


async def test_a_pooler_whose_connections_are_all_busy_is_not_silent(pooler: PgBouncer, postgresql_url: str) -> None:
    options = DatabaseOptions(pooler.url(postgresql_url), direct_url=postgresql_url, silence_seconds=0.5)
    database = Database(options)
    long = text("SELECT 1 FROM pg_sleep(2)").columns()
    assert await asyncio.gather(*(database.read(long) for _ in range(3))) == [[(1,)]] * 3
    await database.close()


async def test_a_pooler_that_is_taken_for_a_server_is_named(pooler: PgBouncer, postgresql_url: str) -> None:
    database = Database(DatabaseOptions(pooler.url(postgresql_url)))
    with pytest.raises(DatabaseUnavailable, match="set direct_database_url"):
        await database.read(select(literal(1)))
    await database.close()
