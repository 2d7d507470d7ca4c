"""What was worked out without a lock is kept only where nothing happened to its accounts meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from db.database import Database, DatabaseOptions
from db.posting.postgresql import keep_unlocked, open_unlocked
from ledger.batches import AccountStates, Batch
from ledger.commands import ExpireHold
from tests.ledger.desk import GPU, START, Desk, api_usage, open_hold, posting, settle

Meanwhile = Callable[[Desk, int], Awaitable[object]]


@pytest.fixture
def backend() -> str:
    return "postgresql"


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


@pytest.fixture
async def other_desk(database_url: str) -> AsyncIterator[Desk]:
    database = Database(DatabaseOptions(database_url))
    yield Desk(database)
    await database.close()


async def _suspend(desk: Desk, account_id: int) -> None:
    await desk.execute(f"UPDATE accounts SET status = 'suspended' WHERE id = {account_id}")


async def _keeps(desk: Desk, others: Desk, meanwhile: Meanwhile | None) -> bool:
    """Whether a call on two accounts is kept, with something happening to the second between its two statements."""
    first, second = await desk.account("9.00"), await desk.account("9.00")
    await desk.post(second, open_hold(5))
    batch = Batch([posting(first, api_usage(1), key="k"), posting(second, settle(3), key="k")], lambda: START)
    before = await desk.tables()
    async with desk.database.lent() as connection:
        stored = await open_unlocked(connection, batch.keys, batch.now())
        states = AccountStates(stored)
        await batch.carry_out(states)
        changes = states.changes()
        if meanwhile is not None:
            await meanwhile(others, second)
            before = await desk.tables()
        if await keep_unlocked(connection, stored, changes, together=True) == {first, second}:
            return True
    assert await desk.tables() == before
    return False


@pytest.mark.parametrize(
    ("meanwhile", "keeps"),
    [
        (None, True),
        (lambda desk, account_id: desk.post(account_id, api_usage(1)), False),
        # Neither of these writes a row.
        (lambda desk, account_id: desk.post(account_id, ExpireHold(GPU)), False),
        (lambda desk, account_id: desk.post(account_id, settle(5)), False),
        (_suspend, False),
    ],
    ids=["nothing", "a row", "an expiry", "an even settlement", "a suspension"],
)
async def test_unlocked_posting_detects_concurrent_changes(
    desk: Desk, other_desk: Desk, meanwhile: Meanwhile | None, keeps: bool
) -> None:
    assert await _keeps(desk, other_desk, meanwhile) is keeps


async def test_conflicting_calls_are_all_written(desk: Desk, other_desk: Desk) -> None:
    """Two processes post to the same accounts, each call once, whatever it takes."""
    accounts = [await desk.account("1.00") for _ in range(2)]
    calls = [
        by.ledger.post(*(posting(account_id, api_usage(1), key=f"{number}") for account_id in accounts))
        for number in range(100)
        for by in (desk, other_desk)
    ]
    outcomes = await asyncio.gather(*calls)
    assert sum(outcome.replayed for call in outcomes for outcome in call) == 200
    assert [[row.seq for row in await desk.rows(account_id)] for account_id in accounts] == [list(range(1, 102))] * 2
