"""Work within one transaction of the ledger: kept whole or not at all, and begun anew where another was in the way."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from db.errors import DatabaseUnavailable, TransactionConflict
from ledger.commands import Outcome
from ledger.errors import InsufficientBalance
from ledger.posting import MAX_TRIES, LedgerTransaction
from tests.ledger.desk import Desk, api_usage, open_hold, posting, usd


async def test_work_within_a_transaction_is_committed_whole_or_rolled_back(desk: Desk) -> None:
    account_id = await desk.account("10.00")

    async def both(transaction: LedgerTransaction) -> None:
        await transaction.post(posting(account_id, api_usage(5)))
        await transaction.post(posting(account_id, open_hold(usd("10.00"))))

    await desk.writes_nothing(desk.ledger.within(both), InsufficientBalance)


async def test_open_transaction_reads_its_own_rows_and_commits_at_the_end(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    before = await desk.tables()
    balance = text(f"SELECT balance_nanos FROM accounts WHERE id = {account_id}")
    call = posting(account_id, api_usage(usd("1.00")))
    async with desk.ledger.open_transaction(lambda transaction: transaction.post(call)) as (transaction, (outcome,)):
        async with transaction.snapshot() as snapshot:
            assert [row[0] for row in await snapshot.rows(balance)] == [outcome.balance_nanos] == [usd("9.00")]
        assert await desk.tables() == before
    assert (await desk.rows(account_id))[1:] == list(outcome.transactions)


async def test_error_in_an_open_transaction_rolls_it_back(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    call = posting(account_id, api_usage(usd("1.00")))

    async def failing() -> None:
        async with desk.ledger.open_transaction(lambda transaction: transaction.post(call)):
            raise LookupError

    await desk.writes_nothing(failing(), LookupError)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_work_in_a_deadlock_is_run_again_and_committed_once(desk: Desk) -> None:
    first, second = await desk.account("10.00"), await desk.account("10.00")
    tries = 0
    both = asyncio.Barrier(2)

    async def crossed(transaction: LedgerTransaction, ahead: int, behind: int) -> Outcome:
        nonlocal tries
        tries += 1
        await transaction.post(posting(ahead, api_usage(1)))
        if tries <= 2:
            await both.wait()
        (outcome,) = await transaction.post(posting(behind, api_usage(1)))
        return outcome

    await asyncio.gather(
        desk.ledger.within(lambda transaction: crossed(transaction, first, second)),
        desk.ledger.within(lambda transaction: crossed(transaction, second, first)),
    )
    assert tries > 2
    assert [len(await desk.rows(account_id)) for account_id in (first, second)] == [3, 3]


@pytest.mark.parametrize(("error", "tries"), [(TransactionConflict, MAX_TRIES), (DatabaseUnavailable, 1)])
async def test_only_conflicts_are_retried_up_to_the_maximum(desk: Desk, error: type[Exception], tries: int) -> None:
    account_id = await desk.account("10.00")
    tried = 0

    async def refused(transaction: LedgerTransaction) -> None:
        nonlocal tried
        tried += 1
        await transaction.post(posting(account_id, api_usage(1)))
        raise error("no")

    await desk.writes_nothing(desk.ledger.within(refused), error)
    assert tried == tries
