from __future__ import annotations

from typing import NamedTuple

from access.keys import ServiceOperation
from db.rows import ChargeRow, TransactionRow
from ledger.attribution import NOBODY, Attribution
from ledger.commands import OpenHold, Ref, RenewHold, SettleHold
from ledger.past import checked_past
from resolvers.mutations.context import MutationContext


class HoldOutcome(NamedTuple):
    account_id: int
    ref: Ref
    transactions: tuple[TransactionRow, ...]
    balance_nanos: int
    replayed: bool
    to_stop: bool


async def _posted(
    context: MutationContext,
    operation: ServiceOperation,
    account_id: str,
    idempotency_key: str,
    command: OpenHold | RenewHold | SettleHold,
    attribution: Attribution = NOBODY,
) -> HoldOutcome:
    outcome = await context.post_as_service(operation, account_id, idempotency_key, command, attribution=attribution)
    return HoldOutcome(
        outcome.account_id, command.ref, outcome.transactions, outcome.balance_nanos, outcome.replayed, outcome.to_stop
    )


async def open_hold(
    context: MutationContext, account_id: str, idempotency_key: str, command: OpenHold, attribution: Attribution
) -> HoldOutcome:
    return await _posted(context, ServiceOperation.OPEN_HOLD, account_id, idempotency_key, command, attribution)


async def renew_hold(
    context: MutationContext, account_id: str, idempotency_key: str, command: RenewHold
) -> HoldOutcome:
    return await _posted(context, ServiceOperation.RENEW_HOLD, account_id, idempotency_key, command)


async def settle_hold(
    context: MutationContext, account_id: str, idempotency_key: str, command: SettleHold
) -> HoldOutcome:
    if command.ended_at is not None:
        checked_past(command.ended_at, context.now, "endedAt")
    return await _posted(context, ServiceOperation.SETTLE_HOLD, account_id, idempotency_key, command)


async def charge_of(context: MutationContext, outcome: HoldOutcome) -> ChargeRow | None:
    """Returns the charge of the hold. It exists, because the call opened, renewed or settled it."""
    return await context.loaders.charge.load((outcome.account_id, outcome.ref.type.value, outcome.ref.id))
