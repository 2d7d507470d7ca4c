"""Spend limits, as the account's owner and operators change them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import astuple, dataclass
from typing import Final, NamedTuple

from access.keys import acting_key
from db import spend_limits
from db.limit_rows import SpendLimitRow
from db.rows import AccountRow, TransactionRow
from ledger.accounts import locked_account
from ledger.audit import AuditedAction, note
from ledger.errors import NotFound
from ledger.idempotent_calls import CallResult, IdempotentCall, run_once
from ledger.ids import parse_spend_limit_id
from ledger.limit_settings import LimitSettings, delete_limit, describe_limit, describe_settings, set_limit
from ledger.posting import LedgerTransaction
from resolvers.context import covers
from resolvers.mutations.context import MutationContext

SET: Final = "setSpendLimit"
DELETE: Final = "deleteSpendLimit"


@dataclass(frozen=True, slots=True)
class LimitOutcome:
    limit: SpendLimitRow
    balance_nanos: int
    replayed: bool
    transactions: tuple[TransactionRow, ...] = ()


class Changed(NamedTuple):
    row: SpendLimitRow
    old: str | None
    new: str | None


Change = Callable[[LedgerTransaction, AccountRow], Awaitable[Changed]]
Find = Callable[[LedgerTransaction], Awaitable[SpendLimitRow | None]]


async def set_spend_limit(
    context: MutationContext, account_id: str | None, idempotency_key: str, settings: LimitSettings
) -> LimitOutcome:
    """Sets the limit of the scope and window that the settings name."""
    context.require_keeper()
    number = context.account_in_scope(account_id, "accountId")
    scope = (*settings.scope, settings.window.value)

    async def put(transaction: LedgerTransaction, account: AccountRow) -> Changed:
        known = await spend_limits.newest_limit_of_scope(transaction.connection, number, *scope)
        row = await set_limit(transaction, account, settings)
        in_force = known is not None and known.deleted_at is None
        return Changed(row, describe_settings(known) if known and in_force else None, describe_settings(row))

    async def find(transaction: LedgerTransaction) -> SpendLimitRow | None:
        return await spend_limits.newest_limit_of_scope(transaction.connection, number, *scope)

    return await _changed(context, IdempotentCall(SET, idempotency_key, astuple(settings), number), put, find)


async def delete_spend_limit(context: MutationContext, limit_id: str, idempotency_key: str) -> LimitOutcome:
    """Raises NotFound for a limit that the key does not cover, whether it exists or not."""
    context.require_keeper()
    key = parse_spend_limit_id(limit_id)
    if key is None or not covers(context.principal, key[0]):
        raise NotFound("there is no such spend limit")

    async def delete(transaction: LedgerTransaction, account: AccountRow) -> Changed:
        row = await delete_limit(transaction, account.id, key[1])
        return Changed(row, describe_settings(row), None)

    async def find(transaction: LedgerTransaction) -> SpendLimitRow | None:
        return await spend_limits.limit_with_number(transaction.connection, key)

    return await _changed(context, IdempotentCall(DELETE, idempotency_key, limit_id, key[0]), delete, find)


async def _changed(context: MutationContext, call: IdempotentCall, change: Change, find: Find) -> LimitOutcome:
    """Makes the change and notes it in the audit list, or finds the limit of the first call."""
    assert call.account_id is not None
    account_id = call.account_id

    async def work(transaction: LedgerTransaction) -> LimitOutcome:
        actor = await acting_key(transaction, context.principal)

        async def changed() -> CallResult:
            account = await locked_account(transaction, account_id)
            row, old, new = await change(transaction, account)
            described = describe_limit(row)
            entry = AuditedAction(
                call.operation, actor, account_id, description=described, old_value=old, new_value=new
            )
            await note(transaction, entry)
            return CallResult(account_id, account.balance_nanos)

        result = await run_once(transaction, call, changed)
        row = await find(transaction)
        assert row is not None
        assert result.balance_nanos is not None
        return LimitOutcome(row, result.balance_nanos, result.replayed)

    return await context.run(work, account_id)
