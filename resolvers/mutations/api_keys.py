"""API key mutations: create, rotate and revoke keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from access.keys import (
    OF_ACCOUNTS,
    NewKey,
    Principal,
    acting_key,
    create_key,
    locked_key,
    no_key,
    revoke_key,
    rotate_key,
)
from db.rows import ApiKeyRow, TransactionRow
from ledger.accounts import locked_account
from ledger.errors import BadUserInput, Forbidden
from ledger.idempotent_calls import CallResult, IdempotentCall, run_once
from ledger.posting import LedgerTransaction
from resolvers.mutations.context import MutationContext


@dataclass(frozen=True, slots=True)
class KeyOutcome:
    key: ApiKeyRow
    secret: str | None
    """The whole key. Returned by the first call only."""
    replaced: ApiKeyRow | None
    """The key that the new key replaces."""
    balance_nanos: int | None
    """Balance of the key's account, if it has one."""
    replayed: bool
    transactions: tuple[TransactionRow, ...] = ()


def _outlives(principal: Principal, scope: str, expires_at: datetime | None) -> bool:
    """Returns whether the new key has the caller's scope and would outlive the caller's key."""
    if principal.expires_at is None or scope != principal.scope:
        return False
    return expires_at is None or expires_at > principal.expires_at


def listed_accounts(context: MutationContext, account_ids: Sequence[str] | None) -> tuple[int, ...] | None:
    """Returns the accounts' numbers. Raises Forbidden if the key may not manage keys, and NotFound for an unknown
    id."""
    context.require_keeper()
    if account_ids is None:
        return None
    return tuple(context.account_in_scope(one, "accountIds") for one in account_ids)


async def create(context: MutationContext, idempotency_key: str, new: NewKey, account_id: str | None) -> KeyOutcome:
    """Creates a key. `account_id` is the account of a read or manage key; if None, the manage key's own account."""
    context.require_keeper()
    own = context.principal.account_id
    if own is not None and new.scope not in OF_ACCOUNTS:
        raise Forbidden("a manage key can create only READ and MANAGE keys")
    if account_id is not None or own is not None:
        new = replace(new, account_id=context.account_in_scope(account_id, "accountId"))
    if _outlives(context.principal, new.scope, new.expires_at):
        raise BadUserInput("expiresAt must not be later than the expiry of the calling key, which has the same scope")
    call = IdempotentCall("createApiKey", idempotency_key, asdict(new), new.account_id)

    async def acted(transaction: LedgerTransaction) -> KeyOutcome:
        actor = await acting_key(transaction, context.principal)
        return await _once(transaction, call, lambda: create_key(transaction, new, actor))

    return await context.run(acted, new.account_id)


async def rotate(context: MutationContext, idempotency_key: str, prefix: str, grace: timedelta) -> KeyOutcome:
    context.require_keeper()

    async def acted(transaction: LedgerTransaction) -> KeyOutcome:
        actor = await acting_key(transaction, context.principal)
        old = await _key_in_scope(transaction, context.principal, prefix)
        if _outlives(context.principal, old.scope, old.expires_at):
            raise Forbidden("a key that expires cannot rotate a key of its own scope that expires later")
        call = IdempotentCall("rotateApiKey", idempotency_key, [prefix, grace.total_seconds()], old.account_id)
        outcome = await _once(transaction, call, lambda: rotate_key(transaction, old, grace, actor))
        return replace(outcome, replaced=await locked_key(transaction, prefix))

    return await context.run(acted)


async def revoke(context: MutationContext, idempotency_key: str, prefix: str) -> KeyOutcome:
    context.require_keeper()

    async def acted(transaction: LedgerTransaction) -> KeyOutcome:
        actor = await acting_key(transaction, context.principal)
        row = await _key_in_scope(transaction, context.principal, prefix)

        async def revoked() -> tuple[None, ApiKeyRow]:
            return None, await revoke_key(transaction, row, actor)

        return await _once(
            transaction, IdempotentCall("revokeApiKey", idempotency_key, prefix, row.account_id), revoked
        )

    return await context.run(acted)


async def _key_in_scope(transaction: LedgerTransaction, principal: Principal, prefix: str) -> ApiKeyRow:
    """Returns the locked key. Raises NotFound for a key that the caller may not manage, whether it exists or not."""
    row = await locked_key(transaction, prefix)
    if principal.account_id not in (None, row.account_id):
        raise no_key(prefix)
    return row


async def _once(
    transaction: LedgerTransaction, call: IdempotentCall, make: Callable[[], Awaitable[tuple[str | None, ApiKeyRow]]]
) -> KeyOutcome:
    """Runs `make` unless the call is a replay. `make` returns the key and, for a new key, its secret."""
    secret: str | None = None

    async def work() -> CallResult:
        nonlocal secret
        secret, row = await make()
        balance_nanos = None
        if row.account_id is not None:
            balance_nanos = (await locked_account(transaction, row.account_id)).balance_nanos
        return CallResult(row.account_id, balance_nanos, row.prefix)

    result = await run_once(transaction, call, work)
    assert result.key_prefix is not None
    row = await locked_key(transaction, result.key_prefix)
    return KeyOutcome(row, secret, None, result.balance_nanos, result.replayed)
