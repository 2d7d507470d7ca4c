from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from db.rows import ChargeRow
from execution.attributes import WRITTEN
from ledger.moves import OpenHold, Period, Ref, RenewHold, SettleHold
from ledger.rules import LONGEST_HOLD
from ledger.texts import DESCRIPTION, REF_ID
from resolvers import holds
from resolvers.holds import HoldOutcome
from resolvers.writes import Writes
from schema.charge import Charge
from schema.kinds import RefType
from schema.payload import ACCOUNT, Call, Payload
from schema.scalars import Nanos

_REF_ID = f"The instance, as its service knows it: {REF_ID.bounds}."
_USED = "What the time that ended came to in full, zero or more: not the difference to the hold."


def _text(what: str, default: str) -> str:
    return f"{what}: {DESCRIPTION.bounds}. If left out: `{default}`."


@strawberry.input(
    description="A hold for the whole estimated time of a GPU instance, or an inference instance's first cycle."
)
class OpenHoldInput(Call):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    ref_type: RefType = strawberry.field(description="GPU_INSTANCE or INFERENCE_INSTANCE: nothing else is held.")
    ref_id: str = strawberry.field(description=f"{_REF_ID} An instance is opened once.")
    amount: Nanos = strawberry.field(description="What is held: above zero, and no more than the balance.")
    period_start: datetime = strawberry.field(description="Start of the time that is paid by the hold.")
    period_end: datetime = strawberry.field(
        description=f"End of that time, itself left out: at most {LONGEST_HOLD.days:,} days from now. An inference"
        " instance's cycles are 24 hours each."
    )
    description: str | None = strawberry.field(
        default=None, description=_text("The row's description", "GPU Instance #132: hold for 1h")
    )


@strawberry.input(
    description="The next 24-hour cycle of an inference instance, and the settlement of the one that ended."
)
class RenewHoldInput(Call):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    ref_id: str = strawberry.field(description="The inference instance that openHold named: only these have cycles.")
    used: Nanos = strawberry.field(description=_USED)
    amount: Nanos = strawberry.field(description="What is held for the next cycle: above zero.")
    description: str | None = strawberry.field(
        default=None,
        description=_text("The next hold's description", "Inference Instance #7: hold for 24h, cycle 2"),
    )
    settlement_description: str | None = strawberry.field(
        default=None,
        description=_text(
            "The settling row's description", "Inference Instance #7: cycle 1 used $20.00 of the $24.00 held"
        ),
    )


@strawberry.input(description="The end of an instance, or of what is known of it.")
class SettleHoldInput(Call):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    ref_type: RefType = strawberry.field(description="As openHold named it.")
    ref_id: str = strawberry.field(description="As openHold named it.")
    used: Nanos = strawberry.field(description=_USED)
    ended_at: datetime | None = strawberry.field(
        default=None, description="When the instance stopped; now if left out. At most 5 minutes ahead."
    )
    description: str | None = strawberry.field(
        default=None, description=_text("The row's description", "GPU Instance #132: used $0.83 of the $2.49 held")
    )


@strawberry.type
class HoldPayload(Payload):
    @strawberry.field(
        description="The instance's charge as it is after the call, or now where it is replayed.",
        graphql_type=Charge,
        metadata={WRITTEN: True},
    )
    async def charge(self: HoldOutcome, info: Info[Writes, None]) -> ChargeRow | None:
        return await holds.charge_of(info.context, self)


@strawberry.type(description="What openHold did.")
class OpenHoldPayload(HoldPayload):
    pass


@strawberry.type(description="What renewHold did: the next hold, then the refund or overage of the cycle that ended.")
class RenewHoldPayload(HoldPayload):
    to_stop: bool = strawberry.field(
        description="The balance does not cover the next cycle, or the account is suspended: the ended cycle is"
        " settled, no hold is open, and the service is to stop the instance."
    )


@strawberry.type(description="What settleHold did: a refund, an overage, or no row where it came out even.")
class SettleHoldPayload(HoldPayload):
    pass


OpenHoldArgument = Annotated[OpenHoldInput, strawberry.argument(description="What is held, and for what.")]
RenewHoldArgument = Annotated[RenewHoldInput, strawberry.argument(description="What ended, and what is held next.")]
SettleHoldArgument = Annotated[SettleHoldInput, strawberry.argument(description="What ended, and what it came to.")]


@strawberry.type
class HoldMutations:
    @strawberry.mutation(
        description="Takes the price of an instance's time in advance. For service keys. INSUFFICIENT_BALANCE where the"
        " balance does not cover it or the account is suspended, CONFLICT where the instance was opened before.",
        graphql_type=OpenHoldPayload,
    )
    async def open_hold(self, info: Info[Writes, None], input: OpenHoldArgument) -> HoldOutcome:  # noqa: A002
        ref, period = Ref(input.ref_type, input.ref_id), Period(input.period_start, input.period_end)
        move = OpenHold(ref, input.amount, input.description, period)
        return await holds.open_hold(info.context, input.account_id, input.idempotency_key, move)

    @strawberry.mutation(
        description="Holds an inference instance's next 24 hours, then settles the 24 hours that ended, in one"
        " transaction. For service keys. Where the balance does not cover the next cycle after that settlement, the"
        " cycle that ended is settled alone and toStop is true. NOT_FOUND without an open hold, CONFLICT if it was"
        " settled or expired.",
        graphql_type=RenewHoldPayload,
    )
    async def renew_hold(self, info: Info[Writes, None], input: RenewHoldArgument) -> HoldOutcome:  # noqa: A002
        ref = Ref(RefType.INFERENCE_INSTANCE, input.ref_id)
        move = RenewHold(ref, input.used, input.settlement_description, input.amount, input.description)
        return await holds.renew_hold(info.context, input.account_id, input.idempotency_key, move)

    @strawberry.mutation(
        description="Returns what was not used of an instance's hold, or charges what was used beyond it, even below"
        " zero. For service keys. It ends the instance's charge: NOT_FOUND without a hold, CONFLICT the second time. A"
        " hold that expired is settled late by it, once.",
        graphql_type=SettleHoldPayload,
    )
    async def settle_hold(self, info: Info[Writes, None], input: SettleHoldArgument) -> HoldOutcome:  # noqa: A002
        ref = Ref(input.ref_type, input.ref_id)
        move = SettleHold(ref, input.used, input.description, input.ended_at)
        return await holds.settle_hold(info.context, input.account_id, input.idempotency_key, move)
