"""Storage mutations, for resources that are billed by time: volumes by the day, inference instances by the hour."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from ledger.attribution import checked_attribution
from ledger.commands import Ref
from ledger.instances import InstanceRate
from ledger.money import format_nanos
from ledger.rates import MAX_DAY_NANOS, MAX_PRICE_NANOS, MAX_QUANTITY
from ledger.texts import REF_ID
from ledger.volumes import MAX_BACK, VolumeRate
from resolvers.mutations import storage
from resolvers.mutations.calls import CallOutcome
from resolvers.mutations.context import MutationContext
from schema.attribution import KEY_ARGUMENT, PROJECT_ARGUMENT
from schema.kinds import RefType
from schema.payload import ACCOUNT, MutationInput, Payload
from schema.scalars import Nanos

_KIND = "VOLUME or SHARED_FILESYSTEM."
_VOLUME = f"Id of the volume at its service: {REF_ID.bounds}. After the volume is deleted, the id cannot be used again."
_FIRST = "All rows of the volume get it. CONFLICT if the volume was registered with another one."
_AS_OPENED = "If given, it must be that of openHold; CONFLICT otherwise."
_PRICE = format_nanos(MAX_PRICE_NANOS)
_A_DAY = format_nanos(MAX_DAY_NANOS)
_UNBILLED = f"At most {MAX_BACK.days} days ago, and not in a day that is already billed."


@strawberry.input(description="A volume's size and price from a given time on.")
class SetVolumeInput(MutationInput):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    ref_type: RefType = strawberry.field(description=_KIND)
    ref_id: str = strawberry.field(description=_VOLUME)
    gib: int = strawberry.field(description=f"Size of the volume in GiB: 1 to {MAX_QUANTITY}.")
    price_per_gib_day: Nanos = strawberry.field(
        description=f"Price of one GiB for one day: 0.00 to {_PRICE}. The whole volume may cost at most {_A_DAY} a day."
    )
    since: datetime | None = strawberry.field(
        default=None,
        description="When the size and price take effect; now if omitted. Not before the volume's newest change."
        f" {_UNBILLED}",
    )
    api_key_id: str | None = strawberry.field(default=None, description=f"{KEY_ARGUMENT} {_FIRST}")
    project: str | None = strawberry.field(default=None, description=f"{PROJECT_ARGUMENT} {_FIRST}")


@strawberry.input(description="A volume to delete.")
class DeleteVolumeInput(MutationInput):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    ref_type: RefType = strawberry.field(description=_KIND)
    ref_id: str = strawberry.field(description="As given to setVolume.")
    deleted_at: datetime | None = strawberry.field(
        default=None,
        description=f"When the volume was deleted; now if omitted. Not before the volume's newest change. {_UNBILLED}",
    )


@strawberry.input(
    description="An inference instance's price from a given time on. It also reports that the instance is running."
)
class SetInstanceRateInput(MutationInput):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    ref_id: str = strawberry.field(description="The inference instance, as given to openHold.")
    gpus: int = strawberry.field(description=f"Number of GPUs that the instance has: 1 to {MAX_QUANTITY}.")
    price_per_gpu_hour: Nanos = strawberry.field(
        description=f"Price of one GPU for one hour: above zero, and at most {_PRICE}. The whole instance may cost at"
        f" most {_A_DAY} a day."
    )
    since: datetime | None = strawberry.field(
        default=None,
        description="When the rate takes effect; now if omitted. Within the running cycle, and not before the newest"
        " change.",
    )
    api_key_id: str | None = strawberry.field(default=None, description=f"{KEY_ARGUMENT} {_AS_OPENED}")
    project: str | None = strawberry.field(default=None, description=f"{PROJECT_ARGUMENT} {_AS_OPENED}")


@strawberry.type(description="Result of setVolume. It writes no rows: each day is billed after it ends.")
class SetVolumePayload(Payload):
    pass


@strawberry.type(description="Result of deleteVolume. It writes no rows: the last day is billed after it ends.")
class DeleteVolumePayload(Payload):
    pass


@strawberry.type(description="Result of setInstanceRate. It writes no rows: each cycle is settled after it ends.")
class SetInstanceRatePayload(Payload):
    to_stop: bool = strawberry.field(
        description="Whether the service must stop the instance. If true, the balance did not cover the next cycle, a"
        " spend limit did not allow it or the account was suspended; the ended cycle is settled, and no hold is open."
        " Always the current state, even if the call is replayed."
    )


SetVolumeArgument = Annotated[SetVolumeInput, strawberry.argument(description="The volume, its size and its price.")]
DeleteVolumeArgument = Annotated[DeleteVolumeInput, strawberry.argument(description="The volume to delete.")]
SetInstanceRateArgument = Annotated[
    SetInstanceRateInput, strawberry.argument(description="The instance and its price.")
]


@strawberry.type
class StorageMutations:
    @strawberry.mutation(
        description="Registers a volume, or changes its size or price from a given time on. For service keys. The"
        " worker bills the volume each day, for the time that it existed. Fails with CONFLICT if the volume was"
        " deleted, or if the time is in a day that is already billed or before the volume's newest change.",
        graphql_type=SetVolumePayload,
    )
    async def set_volume(self, info: Info[MutationContext, None], input: SetVolumeArgument) -> CallOutcome:  # noqa: A002
        rate = VolumeRate(Ref(input.ref_type, input.ref_id), input.gib, input.price_per_gib_day, input.since)
        attribution = checked_attribution(input.api_key_id, input.project)
        return await storage.put_volume(info.context, input.account_id, input.idempotency_key, rate, attribution)

    @strawberry.mutation(
        description="Ends a volume's billing at a given time. For service keys. Fails with NOT_FOUND if there is no"
        " such volume, and with CONFLICT if it was deleted before, or if the time is in a day that is already billed"
        " or before the volume's newest change.",
        graphql_type=DeleteVolumePayload,
    )
    async def delete_volume(self, info: Info[MutationContext, None], input: DeleteVolumeArgument) -> CallOutcome:  # noqa: A002
        ref = Ref(input.ref_type, input.ref_id)
        return await storage.drop_volume(info.context, input.account_id, input.idempotency_key, ref, input.deleted_at)

    @strawberry.mutation(
        description="Sets what an inference instance costs from a given time on. From then on the worker ends its"
        " cycles: it computes the cost of each cycle and holds the next. For service keys. Send the same rate again"
        " in every cycle to report that the instance is still running; otherwise it is not renewed, and expires."
        " Fails with NOT_FOUND if there is no hold, and with CONFLICT if the hold is settled, or if the time is"
        " before the running cycle or the newest change.",
        graphql_type=SetInstanceRatePayload,
    )
    async def set_instance_rate(self, info: Info[MutationContext, None], input: SetInstanceRateArgument) -> CallOutcome:  # noqa: A002
        rate = InstanceRate(input.ref_id, input.gpus, input.price_per_gpu_hour, input.since)
        attribution = checked_attribution(input.api_key_id, input.project)
        return await storage.set_instance_rate(info.context, input.account_id, input.idempotency_key, rate, attribution)
