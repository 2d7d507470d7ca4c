"""Auto-recharge as its owner sets it."""

from __future__ import annotations

from dataclasses import astuple

from access.keys import acting_key
from ledger.idempotent_calls import Call
from ledger.posting import LedgerTransaction
from ledger.recharges import RechargeSettings, put_settings, switch_off
from resolvers.mutations.calls import ActOutcome, acted_once
from resolvers.mutations.context import Writes

OPERATION = "setAutoRecharge"


async def set_auto_recharge(
    writes: Writes, account_id: str | None, idempotency_key: str, settings: RechargeSettings | None
) -> ActOutcome:
    """None switches it off."""
    number = writes.account_of_manager(OPERATION, account_id)

    async def work(transaction: LedgerTransaction) -> ActOutcome:
        await acting_key(transaction, writes.principal)

        async def put() -> None:
            if settings is None:
                await switch_off(transaction.connection, number, transaction.clock())
            else:
                await put_settings(transaction.connection, number, settings, transaction.clock())

        payload = None if settings is None else astuple(settings)
        return await acted_once(transaction, Call(OPERATION, idempotency_key, payload, number), put)

    return await writes.act(work, number)
