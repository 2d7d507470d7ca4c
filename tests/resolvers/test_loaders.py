from __future__ import annotations

import asyncio
from functools import partial
from itertools import pairwise

import pytest

from db import accounts
from db.connections.snapshots import Read, Snapshot
from db.database import Database
from db.errors import NumberOutOfRange
from db.filters import ALL_TRANSACTIONS
from db.rows import AccountRow
from resolvers.loaders import AT_ONCE_KEYS, Loader, Loaders, _hand_on
from tests.resolvers.ledgers import new_account


def _accounts(snapshot: Snapshot) -> Loader[int, AccountRow | None]:
    return Loader(snapshot, partial(accounts.accounts_by_id, snapshot.is_postgresql), dict.get)


async def test_cancelled_key_does_not_affect_other_keys(ledgers: Database) -> None:
    first, second = [await new_account(ledgers) for _ in range(2)]
    async with ledgers.snapshot() as snapshot:
        loader = _accounts(snapshot)
        left, waited_for = loader.load(first.id), loader.load(second.id)
        left.cancel()
        assert await waited_for == second


async def test_error_of_a_read_reaches_all_waiting_keys(ledgers: Database) -> None:
    def refuse(_keys: list[int]) -> Read[dict[int, str]]:
        raise NumberOutOfRange

    async with ledgers.snapshot() as snapshot:
        loader: Loader[int, str | None] = Loader(snapshot, refuse, dict.get)
        left, first, second = [loader.load(key) for key in range(3)]
        left.cancel()
        for one in (first, second):
            with pytest.raises(NumberOutOfRange):
                await one


async def test_count_is_returned_if_the_totals_fail(ledgers: Database) -> None:
    account = await new_account(ledgers)
    async with ledgers.snapshot() as snapshot:
        loaders = Loaders(snapshot)
        key = account.id, ALL_TRANSACTIONS
        totals = loaders.transaction_totals.load(key)
        count = loaders.transaction_count.load(key)
        snapshot.before_reading(lambda: totals.set_exception(NumberOutOfRange()))
        assert await count == 0
        with pytest.raises(NumberOutOfRange):
            await totals


@pytest.mark.parametrize("error", [asyncio.CancelledError(), NumberOutOfRange()])
async def test_error_is_passed_to_waiting_futures_only(error: BaseException) -> None:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[int] = loop.create_future()
    waiting: asyncio.Future[str] = loop.create_future()
    left: asyncio.Future[str] = loop.create_future()
    left.cancel()
    if isinstance(error, asyncio.CancelledError):
        done.cancel()
    else:
        done.set_exception(error)
    for one in (waiting, left):
        _hand_on(done, one, str)
    with pytest.raises(type(error)):
        await waiting
    assert left.cancelled()


async def test_answer_is_not_passed_to_a_cancelled_future() -> None:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[int] = loop.create_future()
    left: asyncio.Future[str] = loop.create_future()
    done.set_result(5)
    left.cancel()
    _hand_on(done, left, str)
    assert left.cancelled()


async def test_fields_that_wait_for_many_keys_continue_in_slices_and_ask_together(ledgers: Database) -> None:
    """Others run in between, and the reads that follow are as many as for a few keys."""
    account = await new_account(ledgers)
    async with ledgers.snapshot() as snapshot:
        loader, second = _accounts(snapshot), _accounts(snapshot)
        turns: list[int] = []

        async def waiting(key: int) -> AccountRow | None:
            await loader.load(key)
            turns.append(key)
            return await second.load(account.id + key)

        async def others() -> list[int]:
            seen = [0]
            while len(turns) < 500:
                await asyncio.sleep(0)
                if len(turns) > seen[-1]:
                    seen.append(len(turns))
            return seen

        watching = asyncio.create_task(others())
        found = await asyncio.gather(*(waiting(key) for key in range(500)))
        seen = await watching
    assert max(after - before for before, after in pairwise(seen)) <= AT_ONCE_KEYS
    assert found == [account, *[None] * 499]
    assert snapshot.reads == 2


async def test_a_value_that_cannot_be_taken_fails_all_keys_that_are_not_told_yet(ledgers: Database) -> None:
    def found_of(_found: dict[int, AccountRow], key: int) -> int:
        if key >= AT_ONCE_KEYS:
            raise NumberOutOfRange
        return key

    async with ledgers.snapshot() as snapshot:
        loader = Loader(snapshot, partial(accounts.accounts_by_id, snapshot.is_postgresql), found_of)
        keys = [loader.load(key) for key in range(AT_ONCE_KEYS * 3)]
        await asyncio.wait(keys)
        assert [isinstance(key.exception(), NumberOutOfRange) for key in keys] == (
            [False] * AT_ONCE_KEYS + [True] * AT_ONCE_KEYS * 2
        )
        assert await _accounts(snapshot).load(0) is None


async def test_reads_that_are_held_are_sent_together(ledgers: Database) -> None:
    async with ledgers.snapshot() as snapshot:
        loader = _accounts(snapshot)
        with snapshot.held():
            first = loader.load(1)
            for _ in range(5):
                await asyncio.sleep(0)
            with snapshot.held():
                second = loader.load(2)
            await asyncio.sleep(0)
            assert not first.done()
        await asyncio.gather(first, second)
        assert snapshot.reads == 1
