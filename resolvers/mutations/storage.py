"""Storage mutations: what services report about volumes and inference instances."""

from __future__ import annotations

from dataclasses import astuple, replace
from datetime import datetime

from access.keys import ServiceOperation
from db import instances
from ledger.attribution import NOBODY, Attribution
from ledger.commands import Ref
from ledger.idempotent_calls import IdempotentCall
from ledger.instances import InstanceRate, set_rate
from ledger.posting import LedgerTransaction
from ledger.volumes import VolumeRate, delete_volume, set_volume
from resolvers.mutations.calls import CallOutcome, run_once_on_account
from resolvers.mutations.context import MutationContext


def _payload(rate: VolumeRate | InstanceRate, attribution: Attribution) -> list[object]:
    """Returns the caller's input. That of a call without attribution is the same as in earlier releases."""
    return [*astuple(rate), *(attribution if attribution != NOBODY else ())]


async def put_volume(
    context: MutationContext, account_id: str, idempotency_key: str, rate: VolumeRate, attribution: Attribution
) -> CallOutcome:
    operation = ServiceOperation.SET_VOLUME
    number = context.account_of_service(operation, account_id)
    call = IdempotentCall(operation.value, idempotency_key, _payload(rate, attribution), number)

    async def work(transaction: LedgerTransaction) -> CallOutcome:
        connection, now = transaction.connection, transaction.clock()
        return await run_once_on_account(
            transaction, call, lambda: set_volume(connection, number, rate, now, attribution)
        )

    return await context.run(work, number)


async def drop_volume(
    context: MutationContext, account_id: str, idempotency_key: str, ref: Ref, deleted_at: datetime | None
) -> CallOutcome:
    operation = ServiceOperation.DELETE_VOLUME
    number = context.account_of_service(operation, account_id)
    call = IdempotentCall(operation.value, idempotency_key, [*astuple(ref), deleted_at], number)

    async def work(transaction: LedgerTransaction) -> CallOutcome:
        return await run_once_on_account(
            transaction,
            call,
            lambda: delete_volume(transaction.connection, number, ref, deleted_at, transaction.clock()),
        )

    return await context.run(work, number)


async def set_instance_rate(
    context: MutationContext, account_id: str, idempotency_key: str, rate: InstanceRate, attribution: Attribution
) -> CallOutcome:
    operation = ServiceOperation.SET_INSTANCE_RATE
    number = context.account_of_service(operation, account_id)
    call = IdempotentCall(operation.value, idempotency_key, _payload(rate, attribution), number)

    async def work(transaction: LedgerTransaction) -> CallOutcome:
        connection = transaction.connection
        outcome = await run_once_on_account(
            transaction, call, lambda: set_rate(connection, number, rate, transaction.clock(), attribution)
        )
        # Use the current state, even for a replay, because the service must learn about it.
        instance = await instances.instance(connection, number, rate.ref_id)
        return replace(outcome, to_stop=instance is not None and instance.to_stop_since is not None)

    return await context.run(work, number)
