"""What services tell of volumes and inference instances."""

from __future__ import annotations

from dataclasses import astuple, replace
from datetime import datetime

from access.keys import ServiceOperation
from db import instances
from ledger.commands import Ref
from ledger.idempotent_calls import Call
from ledger.instances import InstanceRate, set_rate
from ledger.posting import LedgerTransaction
from ledger.volumes import VolumeRate, delete_volume, set_volume
from resolvers.mutations.calls import ActOutcome, acted_once
from resolvers.mutations.context import Writes


async def put_volume(writes: Writes, account_id: str, idempotency_key: str, rate: VolumeRate) -> ActOutcome:
    operation = ServiceOperation.SET_VOLUME
    number = writes.account_of_service(operation, account_id)
    call = Call(operation.value, idempotency_key, astuple(rate), number)

    async def work(transaction: LedgerTransaction) -> ActOutcome:
        return await acted_once(
            transaction, call, lambda: set_volume(transaction.connection, number, rate, transaction.clock())
        )

    return await writes.act(work, number)


async def drop_volume(
    writes: Writes, account_id: str, idempotency_key: str, ref: Ref, deleted_at: datetime | None
) -> ActOutcome:
    operation = ServiceOperation.DELETE_VOLUME
    number = writes.account_of_service(operation, account_id)
    call = Call(operation.value, idempotency_key, [*astuple(ref), deleted_at], number)

    async def work(transaction: LedgerTransaction) -> ActOutcome:
        return await acted_once(
            transaction,
            call,
            lambda: delete_volume(transaction.connection, number, ref, deleted_at, transaction.clock()),
        )

    return await writes.act(work, number)


async def set_instance_rate(writes: Writes, account_id: str, idempotency_key: str, rate: InstanceRate) -> ActOutcome:
    operation = ServiceOperation.SET_INSTANCE_RATE
    number = writes.account_of_service(operation, account_id)
    call = Call(operation.value, idempotency_key, astuple(rate), number)

    async def work(transaction: LedgerTransaction) -> ActOutcome:
        connection = transaction.connection
        outcome = await acted_once(transaction, call, lambda: set_rate(connection, number, rate, transaction.clock()))
        # As it is now, though the call be an old one: the service is to know.
        instance = await instances.instance(connection, number, rate.ref_id)
        return replace(outcome, to_stop=instance is not None and instance.to_stop_since is not None)

    return await writes.act(work, number)
