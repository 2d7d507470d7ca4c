from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from db.rows import ChargeRow
from execution.attributes import WRITTEN
from ledger.attribution import checked_attribution
from ledger.commands import OpenHold, Period, Ref, RenewHold, SettleHold
from ledger.rules import LONGEST_HOLD
from ledger.texts import DESCRIPTION, REF_ID
from resolvers.mutations import holds
from resolvers.mutations.context import MutationContext
from resolvers.mutations.holds import HoldOutcome
from schema.attribution import KEY_ARGUMENT, PROJECT_ARGUMENT
from schema.charge import Charge
from schema.kinds import RefType
from schema.payload import ACCOUNT, MutationInput, Payload
from schema.scalars import Nanos

_REF_ID = f"Id of the instance at its service: {REF_ID.bounds}."
_OF_ALL_ROWS = "The charge and all rows of the instance get it."
_USED = "Full cost of the time that ended, zero or more; not the difference from the hold."


def _text(what: str, default: str) -> str:
    return f"{what}: {DESCRIPTION.bounds}. If omitted: `{default}`."


@strawberry.input(
    description="A hold for the whole estimated time of a GPU instance, or for the first cycle of an inference"
    " instance."
)
class OpenHoldInput(MutationInput):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    ref_type: RefType = strawberry.field(description="GPU_INSTANCE or INFERENCE_INSTANCE. Other kinds cannot be held.")
    ref_id: str = strawberry.field(description=f"{_REF_ID} An instance can be opened only once.")
    amount: Nanos = strawberry.field(
        description="Amount to hold: above zero, and at most the balance less what authorizations reserve."
    )
    period_start: datetime = strawberry.field(description="Start of the time that the hold pays for.")
    period_end: datetime = strawberry.field(
        description=f"End of the time that the hold pays for (exclusive): at most {LONGEST_HOLD.days:,} days from"
        " now. An inference instance's cycles are 24 hours each."
    )
    description: str | None = strawberry.field(
        default=None, description=_text("The row's description", "GPU Instance #132: hold for 1h")
    )
    api_key_id: str | None = strawberry.field(default=None, description=f"{KEY_ARGUMENT} {_OF_ALL_ROWS}")
    project: str | None = strawberry.field(default=None, description=f"{PROJECT_ARGUMENT} {_OF_ALL_ROWS}")


@strawberry.input(
    description="The next 24-hour cycle of an inference instance, and the settlement of the one that ended."
)
class RenewHoldInput(MutationInput):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    ref_id: str = strawberry.field(
        description="The inference instance, as given to openHold. Only inference instances have cycles."
    )
    used: Nanos = strawberry.field(description=_USED)
    amount: Nanos = strawberry.field(description="Amount to hold for the next cycle: above zero.")
    description: str | None = strawberry.field(
        default=None,
        description=_text("The next hold's description", "Inference Instance #7: hold for 24h, cycle 2"),
    )
    settlement_description: str | None = strawberry.field(
        default=None,
        description=_text(
            "The settlement row's description", "Inference Instance #7: cycle 1 used $20.00 of the $24.00 held"
        ),
    )


@strawberry.input(description="The end of an instance and its final cost.")
class SettleHoldInput(MutationInput):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    ref_type: RefType = strawberry.field(description="As given to openHold.")
    ref_id: str = strawberry.field(description="As given to openHold.")
    used: Nanos = strawberry.field(description=_USED)
    ended_at: datetime | None = strawberry.field(
        default=None, description="When the instance stopped; now if omitted. At most 5 minutes in the future."
    )
    description: str | None = strawberry.field(
        default=None, description=_text("The row's description", "GPU Instance #132: used $0.83 of the $2.49 held")
    )


@strawberry.type
class HoldPayload(Payload):
    @strawberry.field(
        description="The instance's charge after the call, or its current state if the call is replayed.",
        graphql_type=Charge,
        metadata={WRITTEN: True},
    )
    async def charge(self: HoldOutcome, info: Info[MutationContext, None]) -> ChargeRow | None:
        return await holds.charge_of(info.context, self)


@strawberry.type(description="Result of openHold.")
class OpenHoldPayload(HoldPayload):
    pass


@strawberry.type(
    description="Result of renewHold. The rows are the next hold, then the refund or overage of the cycle that ended."
)
class RenewHoldPayload(HoldPayload):
    to_stop: bool = strawberry.field(
        description="Whether the service must stop the instance. If true, the balance does not cover the next cycle,"
        " a spend limit does not allow it or the account is suspended; the ended cycle is settled, and no hold is open."
    )


@strawberry.type(
    description="Result of settleHold. The row is a refund or an overage; there is none if the cost equals the hold."
)
class SettleHoldPayload(HoldPayload):
    pass


OpenHoldArgument = Annotated[OpenHoldInput, strawberry.argument(description="The hold to open.")]
RenewHoldArgument = Annotated[RenewHoldInput, strawberry.argument(description="The ended cycle and the next hold.")]
SettleHoldArgument = Annotated[SettleHoldInput, strawberry.argument(description="The instance and its final cost.")]


@strawberry.type
class HoldMutations:
    @strawberry.mutation(
        description="Holds the price of an instance's time in advance. For service keys. Fails with"
        " INSUFFICIENT_BALANCE if the balance less what authorizations reserve does not cover the hold or the account"
        " is suspended, with LIMIT_EXCEEDED if a spend limit of the account, key or project does not allow the hold,"
        " and with CONFLICT if the instance was opened before.",
        graphql_type=OpenHoldPayload,
    )
    async def open_hold(self, info: Info[MutationContext, None], input: OpenHoldArgument) -> HoldOutcome:  # noqa: A002
        ref, period = Ref(input.ref_type, input.ref_id), Period(input.period_start, input.period_end)
        command = OpenHold(ref, input.amount, input.description, period)
        attribution = checked_attribution(input.api_key_id, input.project)
        return await holds.open_hold(info.context, input.account_id, input.idempotency_key, command, attribution)

    @strawberry.mutation(
        description="Holds an inference instance's next 24 hours, then settles the 24 hours that ended, in one"
        " transaction. For service keys. If the balance less what is reserved, or a spend limit, does not allow the"
        " next cycle after that settlement, only the ended cycle is settled, and `toStop` is true. Fails with"
        " NOT_FOUND if there is no open hold, and with"
        " CONFLICT if the hold was settled or has expired.",
        graphql_type=RenewHoldPayload,
    )
    async def renew_hold(self, info: Info[MutationContext, None], input: RenewHoldArgument) -> HoldOutcome:  # noqa: A002
        ref = Ref(RefType.INFERENCE_INSTANCE, input.ref_id)
        command = RenewHold(ref, input.used, input.settlement_description, input.amount, input.description)
        return await holds.renew_hold(info.context, input.account_id, input.idempotency_key, command)

    @strawberry.mutation(
        description="Settles an instance's hold and ends its charge: returns what was not used, or charges what was"
        " used beyond the hold, even if the balance becomes negative. For service keys. A hold that expired can"
        " still be settled once. Fails with NOT_FOUND if there is no hold, and with CONFLICT if it was settled"
        " before.",
        graphql_type=SettleHoldPayload,
    )
    async def settle_hold(self, info: Info[MutationContext, None], input: SettleHoldArgument) -> HoldOutcome:  # noqa: A002
        ref = Ref(input.ref_type, input.ref_id)
        command = SettleHold(ref, input.used, input.description, input.ended_at)
        return await holds.settle_hold(info.context, input.account_id, input.idempotency_key, command)
