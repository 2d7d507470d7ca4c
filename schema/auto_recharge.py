from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from db.recharges import RechargeViewRow
from execution.calls import PREFETCH
from ledger.errors import BadUserInput
from ledger.money import format_nanos
from ledger.recharges import (
    MAX_DAILY_NANOS,
    MAX_DECLINES,
    MAX_PAYMENT_NANOS,
    MAX_THRESHOLD_NANOS,
    MIN_PAYMENT_NANOS,
    RechargeSettings,
)
from resolvers.context import QueryContext
from resolvers.mutations.calls import CallOutcome
from resolvers.mutations.context import MutationContext
from resolvers.mutations.recharges import set_auto_recharge
from resolvers.reads import recharges
from schema.kinds import RechargeBlock, RechargeState
from schema.payload import MutationInput, Payload
from schema.scalars import Nanos

PAYMENT = f"{format_nanos(MIN_PAYMENT_NANOS)} to {format_nanos(MAX_PAYMENT_NANOS)}, in whole cents"
OWN_ACCOUNT = "The key's own account, `acct_7`. It can be omitted."


@strawberry.type(description="Settings and current state of auto-recharge.")
class AutoRecharge:
    state: RechargeState = strawberry.field(
        description="Whether auto-recharge is on. `canCharge` tells whether it can charge the card now."
    )
    threshold_nanos: Nanos = strawberry.field(
        name="threshold", description="Auto-recharge starts when the balance falls below this amount."
    )
    amount_nanos: Nanos = strawberry.field(name="amount", description="Amount charged to the card in each payment.")
    daily_limit_nanos: Nanos = strawberry.field(name="dailyLimit", description="Maximum amount charged in one UTC day.")
    charged_nanos: Nanos = strawberry.field(
        name="chargedToday", description="Amount paid or in progress this UTC day. It counts toward the daily limit."
    )
    in_flight: bool = strawberry.field(description="Whether a payment is in progress. There is at most one at a time.")
    declines: int = strawberry.field(
        description=f"Number of declined payments in a row. {MAX_DECLINES} stop auto-recharge."
    )
    last_failure: str | None = strawberry.field(
        description="Why the last payment failed or was not attempted; null once a payment has succeeded."
    )
    last_failure_at: datetime | None = strawberry.field(
        description="When the last payment failed or was not attempted."
    )

    @strawberry.field(
        description="Whether the card would be charged if the balance fell below the threshold now.",
        metadata={PREFETCH: recharges.prefetch_block},
    )
    async def can_charge(self: RechargeViewRow, info: Info[QueryContext, None]) -> bool:
        return await recharges.block(info.context, self) is None

    @strawberry.field(
        description="Reason why the card cannot be charged; null if `canCharge` is true. If several reasons apply,"
        " the first in the order of the enum's values.",
        metadata={PREFETCH: recharges.prefetch_block},
    )
    async def blocked_by(self: RechargeViewRow, info: Info[QueryContext, None]) -> RechargeBlock | None:
        return await recharges.block(info.context, self)

    @strawberry.field(
        description="Earliest time of the next attempt if `blockedBy` is DAILY_LIMIT_REACHED or RETRY_LATER;"
        " otherwise null.",
        metadata={PREFETCH: recharges.prefetch_block},
    )
    async def next_try_at(self: RechargeViewRow, info: Info[QueryContext, None]) -> datetime | None:
        return await recharges.next_try_at(info.context, self)

    @strawberry.field(
        description="What auto-recharge does now, in plain English: when it charges and how much, or why it cannot;"
        " when it tries next; and why it last failed.",
        metadata={PREFETCH: recharges.prefetch_block},
    )
    async def explanation(self: RechargeViewRow, info: Info[QueryContext, None]) -> str:
        return await recharges.explanation(info.context, self)


@strawberry.input(description="Auto-recharge settings, or `enabled: false` to switch it off.")
class SetAutoRechargeInput(MutationInput):
    account_id: strawberry.ID | None = strawberry.field(default=None, description=OWN_ACCOUNT)
    enabled: bool = strawberry.field(
        default=True,
        description="Whether auto-recharge is on. False switches it off and keeps the amounts; a payment in"
        " progress is still credited.",
    )
    threshold: Nanos | None = strawberry.field(
        default=None,
        description="Auto-recharge starts when the balance falls below this amount: 0.00 to"
        f" {format_nanos(MAX_THRESHOLD_NANOS)}. Required if enabled.",
    )
    amount: Nanos | None = strawberry.field(
        default=None, description=f"Amount charged to the card in each payment: {PAYMENT}. Required if enabled."
    )
    daily_limit: Nanos | None = strawberry.field(
        default=None,
        description="Maximum amount charged in one UTC day: at least `amount`, and at most"
        f" {format_nanos(MAX_DAILY_NANOS)}. Required if enabled.",
    )


@strawberry.type(description="Result of setAutoRecharge.")
class SetAutoRechargePayload(Payload):
    @strawberry.field(
        description="Auto-recharge after the call, or its current state if the call is replayed.",
        graphql_type=AutoRecharge,
    )
    async def auto_recharge(self: CallOutcome, info: Info[MutationContext, None]) -> RechargeViewRow | None:
        return await recharges.auto_recharge(info.context, self.account_id)


SetAutoRechargeArgument = Annotated[SetAutoRechargeInput, strawberry.argument(description="The settings to apply.")]


def _settings(given: SetAutoRechargeInput) -> RechargeSettings | None:
    if not given.enabled:
        return None
    if given.threshold is None or given.amount is None or given.daily_limit is None:
        raise BadUserInput("threshold, amount and dailyLimit are required to enable auto-recharge")
    return RechargeSettings(given.threshold, given.amount, given.daily_limit)


@strawberry.type
class AutoRechargeMutations:
    @strawberry.mutation(
        description="Sets auto-recharge: when the balance falls below the threshold, the card that a top-up saved is"
        " charged, one payment at a time. For MANAGE keys. You can set it before a card is saved;"
        f" `autoRecharge.canCharge` tells whether it can charge yet. {MAX_DECLINES} declined payments in a row stop"
        " it; call this mutation again to restart it. Fails with CONFLICT if it is switched off but was never set.",
        graphql_type=SetAutoRechargePayload,
    )
    async def set_auto_recharge(self, info: Info[MutationContext, None], input: SetAutoRechargeArgument) -> CallOutcome:  # noqa: A002
        return await set_auto_recharge(info.context, input.account_id, input.idempotency_key, _settings(input))
