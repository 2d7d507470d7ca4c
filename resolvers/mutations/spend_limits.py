"""Spend limits, as the account's owner and operators change them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import astuple, dataclass
from typing import Final

from access.keys import KeyScope, acting_key
from db import spend_limits
from db.limit_rows import SpendLimitRow
from db.rows import AccountRow, TransactionRow
from ledger.accounts import locked_account
from ledger.audit import AuditedAction, note
from ledger.errors import NotFound
from ledger.idempotent_calls import CallResult, IdempotentCall, run_once
from ledger.ids import parse_spend_limit_id
from ledger.limit_settings import LimitSettings, delete_limit, describe_limit, set_limit
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


Change = Callable[[LedgerTransaction, AccountRow], Awaitable[SpendLimitRow]]
Find = Callable[[LedgerTransaction], Awaitable[SpendLimitRow | None]]


async def set_spend_limit(
    context: MutationContext, account_id: str | None, idempotency_key: str, settings: LimitSettings
) -> LimitOutcome:
    """Sets the limit of the scope and window that the settings name."""
    context.require_keeper()
    number = context.account_in_scope(account_id, "accountId")
    scope = (*settings.scope, settings.window.value)

    async def put(transaction: LedgerTransaction, account: AccountRow) -> SpendLimitRow:
        return await set_limit(transaction, account, settings)

    async def find(transaction: LedgerTransaction) -> SpendLimitRow | None:
        return await spend_limits.newest_limit_of_scope(transaction.connection, number, *scope)

    return await _changed(context, IdempotentCall(SET, idempotency_key, astuple(settings), number), put, find)


async def delete_spend_limit(context: MutationContext, limit_id: str, idempotency_key: str) -> LimitOutcome:
    """Raises NotFound for a limit that the key does not cover, whether it exists or not."""
    context.require_keeper()
    key = parse_spend_limit_id(limit_id)
    if key is None or not covers(context.principal, key[0]):
        raise NotFound("there is no such spend limit")

    async def delete(transaction: LedgerTransaction, account: AccountRow) -> SpendLimitRow:
        return await delete_limit(transaction, account.id, key[1])

    async def find(transaction: LedgerTransaction) -> SpendLimitRow | None:
        return await spend_limits.limit_with_number(transaction.connection, key)

    return await _changed(context, IdempotentCall(DELETE, idempotency_key, limit_id, key[0]), delete, find)


async def _changed(context: MutationContext, call: IdempotentCall, change: Change, find: Find) -> LimitOutcome:
    """Makes the change, or finds the limit of the first call. What an operator does is noted in the audit list."""
    assert call.account_id is not None
    account_id = call.account_id

    async def work(transaction: LedgerTransaction) -> LimitOutcome:
        actor = await acting_key(transaction, context.principal)

        async def changed() -> CallResult:
            account = await locked_account(transaction, account_id)
            row = await change(transaction, account)
            if context.principal.scope == KeyScope.OPERATOR:
                entry = AuditedAction(call.operation, actor, account_id, description=describe_limit(row))
                await note(transaction, entry)
            return CallResult(account_id, account.balance_nanos)

        result = await run_once(transaction, call, changed)
        row = await find(transaction)
        assert row is not None
        assert result.balance_nanos is not None
        return LimitOutcome(row, result.balance_nanos, result.replayed)

    return await context.run(work, account_id)
