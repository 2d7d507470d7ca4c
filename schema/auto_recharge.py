from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from db.recharges import RechargeViewRow
from execution.calls import AHEAD
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
from resolvers import recharges
from resolvers.acts import ActOutcome
from resolvers.context import Reads
from resolvers.writes import Writes
from schema.kinds import RechargeBlock, RechargeState
from schema.payload import Call, Payload
from schema.scalars import Nanos

PAYMENT = f"{format_nanos(MIN_PAYMENT_NANOS)} to {format_nanos(MAX_PAYMENT_NANOS)}, in whole cents"
OWN_ACCOUNT = "The key's own account, `acct_7`; it may be left out."


@strawberry.type(description="What auto-recharge is set to, and how it goes.")
class AutoRecharge:
    state: RechargeState = strawberry.field(
        description="Whether it is switched on. `canCharge` says whether it can do anything."
    )
    threshold_nanos: Nanos = strawberry.field(name="threshold", description="A balance below this is recharged.")
    amount_nanos: Nanos = strawberry.field(name="amount", description="What the card is charged at a time.")
    daily_limit_nanos: Nanos = strawberry.field(name="dailyLimit", description="The most that a UTC day may cost.")
    charged_nanos: Nanos = strawberry.field(
        name="chargedToday", description="What was paid this UTC day, or is under way: it counts for the daily limit."
    )
    in_flight: bool = strawberry.field(description="Whether a payment is under way. There is one at a time.")
    declines: int = strawberry.field(description=f"Declines in a row: {MAX_DECLINES} stop it.")
    last_failure: str | None = strawberry.field(
        description="Why the last payment failed, or was not asked for; null once a payment has succeeded."
    )
    last_failure_at: datetime | None = strawberry.field(description="When that was.")

    @strawberry.field(
        description="Whether the card would be charged if the balance fell below the threshold now.",
        metadata={AHEAD: recharges.ask_block},
    )
    async def can_charge(self: RechargeViewRow, info: Info[Reads, None]) -> bool:
        return await recharges.block(info.context, self) is None

    @strawberry.field(
        description="What keeps the card from being charged; null where `canCharge`. Where there are several reasons,"
        " the first in the order of the values.",
        metadata={AHEAD: recharges.ask_block},
    )
    async def blocked_by(self: RechargeViewRow, info: Info[Reads, None]) -> RechargeBlock | None:
        return await recharges.block(info.context, self)

    @strawberry.field(
        description="No payment is tried before this time, where it is DAILY_LIMIT_REACHED or RETRY_LATER; else null.",
        metadata={AHEAD: recharges.ask_block},
    )
    async def next_try_at(self: RechargeViewRow, info: Info[Reads, None]) -> datetime | None:
        return await recharges.next_try_at(info.context, self)

    @strawberry.field(
        description="What it does at present, in plain English: when it charges how much, or why it cannot; the next"
        " try; and the last failure.",
        metadata={AHEAD: recharges.ask_block},
    )
    async def explanation(self: RechargeViewRow, info: Info[Reads, None]) -> str:
        return await recharges.explanation(info.context, self)


@strawberry.input(description="When to charge the card, and how much; or nothing more.")
class SetAutoRechargeInput(Call):
    account_id: strawberry.ID | None = strawberry.field(default=None, description=OWN_ACCOUNT)
    enabled: bool = strawberry.field(
        default=True, description="False switches it off and keeps the amounts. A payment under way is still credited."
    )
    threshold: Nanos | None = strawberry.field(
        default=None,
        description=f"A balance below this is recharged: 0.00 to {format_nanos(MAX_THRESHOLD_NANOS)}. Required where"
        " enabled.",
    )
    amount: Nanos | None = strawberry.field(
        default=None, description=f"What the card is charged at a time: {PAYMENT}. Required where enabled."
    )
    daily_limit: Nanos | None = strawberry.field(
        default=None,
        description=f"The most that a UTC day may cost: at least the amount, and at most"
        f" {format_nanos(MAX_DAILY_NANOS)}. Required where enabled.",
    )


@strawberry.type(description="What setAutoRecharge did.")
class SetAutoRechargePayload(Payload):
    @strawberry.field(description="As it is after the call, or now if replayed.", graphql_type=AutoRecharge)
    async def auto_recharge(self: ActOutcome, info: Info[Writes, None]) -> RechargeViewRow | None:
        return await recharges.auto_recharge(info.context, self.account_id)


SetAutoRechargeArgument = Annotated[SetAutoRechargeInput, strawberry.argument(description="What it is to be.")]


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
        " charged, one payment at a time. It may be set before a card is saved: `autoRecharge.canCharge` says whether"
        f" it can charge yet. For manage keys. {MAX_DECLINES} declines in a row stop it; calling this again starts it"
        " anew. CONFLICT where it is switched off and was never set.",
        graphql_type=SetAutoRechargePayload,
    )
    async def set_auto_recharge(self, info: Info[Writes, None], input: SetAutoRechargeArgument) -> ActOutcome:  # noqa: A002
        return await recharges.set_auto_recharge(
            info.context, input.account_id, input.idempotency_key, _settings(input)
        )
