"""Placement: the shard on which a new account is created (docs/decisions/0017)."""

from __future__ import annotations

from collections.abc import Sequence

from db import shard_directory as directory
from db.database import WriteConnection
from db.shard_directory import CreationRow
from ledger.accounts import NewAccount, check_new_account
from ledger.commands import digest_of_payload
from ledger.errors import IdempotencyConflict
from ledger.idempotent_calls import IdempotentCall
from ledger.posting import Ledger, LedgerTransaction
from ledger.texts import IDEMPOTENCY_KEY


async def place_account(ledger: Ledger, new: NewAccount, call: IdempotentCall | None = None) -> int:
    """Returns the shard that the account must be created on, and that decides whether it can be. A repeated call gets
    the same. `ledger` is that of shard 0.

    Raises BadUserInput, and IdempotencyConflict also if the first call was refused.
    """
    check_new_account(new)
    if call is not None:
        IDEMPOTENCY_KEY.checked(call.idempotency_key, "idempotencyKey")
    return await ledger.within(lambda transaction: _place(transaction, new, call))


async def _place(transaction: LedgerTransaction, new: NewAccount, call: IdempotentCall | None) -> int:
    connection = transaction.connection
    listed = dict(await directory.lock_shards(connection))
    known = None if call is None else await _known(transaction, call)
    if known is not None:
        return known
    number = await _placed(connection, listed, new.external_id)
    if call is not None:
        row = CreationRow(call.idempotency_key, digest_of_payload(call.payload), number)
        await directory.put_creation(connection, row, transaction.clock())
    return number


async def _placed(connection: WriteConnection, listed: dict[int, int], external_id: str | None) -> int:
    """`listed` has the number of accounts placed on each shard, and is kept up to date."""
    if external_id is not None:
        known = await directory.shard_of_external_id(connection, external_id)
        if known is not None:
            return known
    number = min((accounts, shard) for shard, accounts in listed.items())[1]
    listed[number] += 1
    await directory.count_placed(connection, number)
    if external_id is not None:
        await directory.put_external_id(connection, external_id, number)
    return number


async def place_external_ids(ledger: Ledger, external_ids: Sequence[str]) -> dict[int, list[str]]:
    """Returns the external ids by the shard on which their accounts must be created. `ledger` is that of shard 0."""

    async def work(transaction: LedgerTransaction) -> dict[int, list[str]]:
        listed = dict(await directory.lock_shards(transaction.connection))
        placed: dict[int, list[str]] = {}
        for external_id in external_ids:
            number = await _placed(transaction.connection, listed, external_id)
            placed.setdefault(number, []).append(external_id)
        return placed

    return await ledger.within(work)


async def _known(transaction: LedgerTransaction, call: IdempotentCall) -> int | None:
    """Returns the shard that has the call. Calls that are older than the set are on shard 0."""
    row = await directory.creation(transaction.connection, call.idempotency_key)
    if row is None:
        is_older = await directory.is_older_creation(transaction.connection, call.operation, call.idempotency_key)
        return 0 if is_older else None
    if row.payload_digest != digest_of_payload(call.payload):
        msg = f"the idempotency key was used for another {call.operation} call with another payload"
        raise IdempotencyConflict(msg)
    return row.number
