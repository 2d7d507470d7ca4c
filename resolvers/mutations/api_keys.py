"""API key mutations: create, rotate and revoke keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from access import addresses
from access.addresses import Networks
from access.keys import (
    OF_ACCOUNTS,
    IssuedKey,
    KeyRate,
    NewKey,
    Principal,
    acting_key,
    acting_row,
    actor_of,
    check_child,
    create_key,
    locked_key,
    no_key,
    revoke_key,
    rotate_key,
    set_key_rate,
    shard_of_prefix,
)
from db.rows import ApiKeyRow, TransactionRow
from ledger.accounts import locked_account
from ledger.audit import Actor
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


def listed_addresses(context: MutationContext, allowed: Sequence[str] | None) -> Networks | None:
    """Raises Forbidden for keys that keep none, and BadUserInput for what is no address or network."""
    context.require_keeper()
    return None if allowed is None else addresses.parse_networks(allowed, "allowedAddresses")


def _payload(new: NewKey) -> dict[str, Any]:
    """Returns the payload to compare with calls that have the same idempotency key.

    Without addresses it is the same as for calls from before keys had addresses.
    """
    payload = asdict(replace(new, allowed_addresses=None))
    del payload["allowed_addresses"], payload["session_of"]
    if new.allowed_addresses is not None:
        payload["addresses"] = addresses.texts_of(new.allowed_addresses)
    return payload


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
    call = IdempotentCall("createApiKey", idempotency_key, _payload(new), new.account_id)

    async def acted(transaction: LedgerTransaction) -> KeyOutcome:
        caller = await acting_row(transaction, context.principal)

        async def created() -> IssuedKey:
            check_child(caller, new.expires_at, new.allowed_addresses)
            return await create_key(transaction, replace(new, session_of=caller.session_of), actor_of(caller))

        return await _once(transaction, call, created)

    return await context.run(acted, new.account_id)


async def rotate(context: MutationContext, idempotency_key: str, prefix: str, grace: timedelta) -> KeyOutcome:
    context.require_keeper()

    async def acted(transaction: LedgerTransaction) -> KeyOutcome:
        caller = await acting_row(transaction, context.principal)
        old = await _key_in_scope(transaction, context.principal, prefix)
        _check_rotation(caller, old)
        actor = actor_of(caller)
        call = IdempotentCall("rotateApiKey", idempotency_key, [prefix, grace.total_seconds()], old.account_id)
        outcome = await _once(transaction, call, lambda: rotate_key(transaction, old, grace, actor))
        return replace(outcome, replaced=await locked_key(transaction, prefix))

    return await context.run(acted, shard_of=partial(_shard_of, context, prefix))


async def _shard_of(context: MutationContext, prefix: str) -> int | None:
    """Returns the shard that has the key; None for a key of an account, which manages keys on its own shard only."""
    if context.first_shard is None or context.principal.account_id is not None:
        return None
    return await shard_of_prefix(context.first_shard, prefix)


def _check_rotation(caller: ApiKeyRow, old: ApiKeyRow) -> None:
    """The caller gets the new key's secret. Raises Forbidden where it would have more than with its own."""
    try:
        check_child(caller, old.expires_at, addresses.read(old.allowed_addresses))
    except BadUserInput:
        raise Forbidden(
            "a key cannot rotate a key that expires later, or that can be used from other addresses"
        ) from None


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

    return await context.run(acted, shard_of=partial(_shard_of, context, prefix))


async def set_rate(context: MutationContext, idempotency_key: str, prefix: str, rate: KeyRate | None) -> KeyOutcome:
    async def acted(transaction: LedgerTransaction, actor: Actor) -> KeyOutcome:
        row = await locked_key(transaction, prefix)

        async def changed() -> tuple[None, ApiKeyRow]:
            return None, await set_key_rate(transaction, row, rate, actor)

        call = IdempotentCall("setApiKeyRate", idempotency_key, [prefix, *(rate or ())], row.account_id)
        return await _once(transaction, call, changed)

    context.require_operator()
    return await context.run_as_operator(acted, shard_of=partial(_shard_of, context, prefix))


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
