from __future__ import annotations

from typing import NamedTuple

from access.keys import ServiceOperation
from db.rows import ChargeRow, TransactionRow
from ledger.commands import OpenHold, Ref, RenewHold, SettleHold
from ledger.past import checked_past
from resolvers.mutations.context import Writes


class HoldOutcome(NamedTuple):
    account_id: int
    ref: Ref
    transactions: tuple[TransactionRow, ...]
    balance_nanos: int
    replayed: bool
    to_stop: bool


async def _posted(
    writes: Writes,
    operation: ServiceOperation,
    account_id: str,
    idempotency_key: str,
    move: OpenHold | RenewHold | SettleHold,
) -> HoldOutcome:
    outcome = await writes.post_as_service(operation, account_id, idempotency_key, move)
    return HoldOutcome(
        outcome.account_id, move.ref, outcome.transactions, outcome.balance_nanos, outcome.replayed, outcome.to_stop
    )


async def open_hold(writes: Writes, account_id: str, idempotency_key: str, move: OpenHold) -> HoldOutcome:
    return await _posted(writes, ServiceOperation.OPEN_HOLD, account_id, idempotency_key, move)


async def renew_hold(writes: Writes, account_id: str, idempotency_key: str, move: RenewHold) -> HoldOutcome:
    return await _posted(writes, ServiceOperation.RENEW_HOLD, account_id, idempotency_key, move)


async def settle_hold(writes: Writes, account_id: str, idempotency_key: str, move: SettleHold) -> HoldOutcome:
    if move.ended_at is not None:
        checked_past(move.ended_at, writes.now, "endedAt")
    return await _posted(writes, ServiceOperation.SETTLE_HOLD, account_id, idempotency_key, move)


async def charge_of(writes: Writes, outcome: HoldOutcome) -> ChargeRow | None:
    """There is one: the call opened, renewed or settled it."""
    return await writes.loaders.charge.load((outcome.account_id, outcome.ref.type.value, outcome.ref.id))
