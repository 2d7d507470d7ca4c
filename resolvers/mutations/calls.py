"""Calls without ledger rows: settings that a service or an account's owner changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from db.rows import TransactionRow
from ledger.accounts import locked_account
from ledger.idempotent_calls import CallResult, IdempotentCall, run_once
from ledger.posting import LedgerTransaction


@dataclass(frozen=True, slots=True)
class CallOutcome:
    account_id: int
    balance_nanos: int
    replayed: bool
    to_stop: bool = False
    """For an inference instance: its service must stop it."""
    transactions: tuple[TransactionRow, ...] = ()


async def run_once_on_account(
    transaction: LedgerTransaction, call: IdempotentCall, work: Callable[[], Awaitable[object]]
) -> CallOutcome:
    """Does the work unless the call is a replay. The account is locked meanwhile."""
    assert call.account_id is not None
    account_id = call.account_id

    async def done() -> CallResult:
        account = await locked_account(transaction, account_id)
        await work()
        return CallResult(account_id, account.balance_nanos)

    result = await run_once(transaction, call, done)
    assert result.balance_nanos is not None
    return CallOutcome(account_id, result.balance_nanos, result.replayed)
