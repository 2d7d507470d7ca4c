"""What services tell of what is billed by time: volumes by the day, inference instances by the hour."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from ledger.instances import InstanceRate
from ledger.money import format_nanos
from ledger.moves import Ref
from ledger.rates import MAX_DAY_NANOS, MAX_PRICE_NANOS, MAX_QUANTITY
from ledger.texts import REF_ID
from ledger.volumes import MAX_BACK, VolumeRate
from resolvers import storage
from resolvers.acts import ActOutcome
from resolvers.writes import Writes
from schema.kinds import RefType
from schema.payload import ACCOUNT, Call, Payload
from schema.scalars import Nanos

_KIND = "VOLUME or SHARED_FILESYSTEM."
_VOLUME = f"The volume, as its service knows it: {REF_ID.bounds}. It is not used again after its deletion."
_PRICE = format_nanos(MAX_PRICE_NANOS)
_A_DAY = format_nanos(MAX_DAY_NANOS)
_UNBILLED = f"At most {MAX_BACK.days} days ago, and in no day that is billed already."


@strawberry.input(description="A volume's size and price from a moment on.")
class SetVolumeInput(Call):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    ref_type: RefType = strawberry.field(description=_KIND)
    ref_id: str = strawberry.field(description=_VOLUME)
    gib: int = strawberry.field(description=f"Its size: 1 to {MAX_QUANTITY}.")
    price_per_gib_day: Nanos = strawberry.field(
        description=f"What a GiB costs for a day: 0.00 to {_PRICE}, and for the whole volume at most {_A_DAY} a day."
    )
    since: datetime | None = strawberry.field(
        default=None, description=f"From when on; now if left out. Not before its newest change. {_UNBILLED}"
    )


@strawberry.input(description="A volume that is gone.")
class DeleteVolumeInput(Call):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    ref_type: RefType = strawberry.field(description=_KIND)
    ref_id: str = strawberry.field(description="As setVolume named it.")
    deleted_at: datetime | None = strawberry.field(
        default=None, description=f"Since when; now if left out. Not before its newest change. {_UNBILLED}"
    )


@strawberry.input(description="What an inference instance costs from a moment on, and that it runs.")
class SetInstanceRateInput(Call):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    ref_id: str = strawberry.field(description="The inference instance that openHold named.")
    gpus: int = strawberry.field(description=f"How many it has: 1 to {MAX_QUANTITY}.")
    price_per_gpu_hour: Nanos = strawberry.field(
        description=f"What one of them costs for an hour: above zero, at most {_PRICE}, and for the whole instance at"
        f" most {_A_DAY} a day."
    )
    since: datetime | None = strawberry.field(
        default=None,
        description="From when on; now if left out. In the cycle that runs, and not before the newest change.",
    )


@strawberry.type(description="What setVolume did. It writes no rows: days are billed when they are over.")
class SetVolumePayload(Payload):
    pass


@strawberry.type(description="What deleteVolume did. It writes no rows: the last day is billed when it is over.")
class DeleteVolumePayload(Payload):
    pass


@strawberry.type(description="What setInstanceRate did. It writes no rows: a cycle is settled when it is over.")
class SetInstanceRatePayload(Payload):
    to_stop: bool = strawberry.field(
        description="The balance did not cover the next cycle: the ended one is settled, no hold is open, and the"
        " service is to stop the instance. As it is now, even if replayed."
    )


SetVolumeArgument = Annotated[SetVolumeInput, strawberry.argument(description="Which volume, and what it costs.")]
DeleteVolumeArgument = Annotated[DeleteVolumeInput, strawberry.argument(description="Which volume.")]
SetInstanceRateArgument = Annotated[
    SetInstanceRateInput, strawberry.argument(description="Which instance, and what it costs.")
]


@strawberry.type
class StorageMutations:
    @strawberry.mutation(
        description="Registers a volume, or changes its size or price from a moment on. For service keys. The worker"
        " bills it by the day, for the time that it was there. CONFLICT where it was deleted, or the moment lies in a"
        " day that is billed or before its newest change.",
        graphql_type=SetVolumePayload,
    )
    async def set_volume(self, info: Info[Writes, None], input: SetVolumeArgument) -> ActOutcome:  # noqa: A002
        rate = VolumeRate(Ref(input.ref_type, input.ref_id), input.gib, input.price_per_gib_day, input.since)
        return await storage.put_volume(info.context, input.account_id, input.idempotency_key, rate)

    @strawberry.mutation(
        description="Ends a volume's billing at a moment. For service keys. NOT_FOUND without such a volume, CONFLICT"
        " the second time, and where the moment lies in a day that is billed or before its newest change.",
        graphql_type=DeleteVolumePayload,
    )
    async def delete_volume(self, info: Info[Writes, None], input: DeleteVolumeArgument) -> ActOutcome:  # noqa: A002
        ref = Ref(input.ref_type, input.ref_id)
        return await storage.drop_volume(info.context, input.account_id, input.idempotency_key, ref, input.deleted_at)

    @strawberry.mutation(
        description="Sets what an inference instance costs from a moment on, and has the worker end its cycles: it then"
        " works out what a cycle came to, and holds the next. For service keys. The same rate again says that the"
        " instance still runs: say so in every cycle, or it is not renewed, and expires. NOT_FOUND without a hold,"
        " CONFLICT where it is settled, or the moment lies before the running cycle or the newest change.",
        graphql_type=SetInstanceRatePayload,
    )
    async def set_instance_rate(self, info: Info[Writes, None], input: SetInstanceRateArgument) -> ActOutcome:  # noqa: A002
        rate = InstanceRate(input.ref_id, input.gpus, input.price_per_gpu_hour, input.since)
        return await storage.set_instance_rate(info.context, input.account_id, input.idempotency_key, rate)
