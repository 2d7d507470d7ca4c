"""Acts that write no ledger rows: what a service or an account's owner sets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from db.rows import TransactionRow
from ledger.accounts import locked_account
from ledger.idempotent_calls import Call, Came, once
from ledger.posting import LedgerTransaction


@dataclass(frozen=True, slots=True)
class ActOutcome:
    account_id: int
    balance_nanos: int
    replayed: bool
    to_stop: bool = False
    """Of an inference instance: its service is to stop it."""
    transactions: tuple[TransactionRow, ...] = ()


async def acted_once(transaction: LedgerTransaction, call: Call, work: Callable[[], Awaitable[object]]) -> ActOutcome:
    """Does the work, unless the call was made before. Its account is locked meanwhile."""
    assert call.account_id is not None
    account_id = call.account_id

    async def done() -> Came:
        account = await locked_account(transaction, account_id)
        await work()
        return Came(account_id, account.balance_nanos)

    came = await once(transaction, call, done)
    assert came.balance_nanos is not None
    return ActOutcome(account_id, came.balance_nanos, came.replayed)
