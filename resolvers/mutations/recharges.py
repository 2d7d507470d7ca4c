"""Auto-recharge settings, as the account's owner changes them."""

from __future__ import annotations

from dataclasses import astuple

from access.keys import acting_key
from db import recharges
from ledger.audit import AuditedAction, note
from ledger.idempotent_calls import IdempotentCall
from ledger.posting import LedgerTransaction
from ledger.recharges import RechargeSettings, describe_settings, put_settings, switch_off
from resolvers.mutations.calls import CallOutcome, run_once_on_account
from resolvers.mutations.context import MutationContext

OPERATION = "setAutoRecharge"


async def set_auto_recharge(
    context: MutationContext, account_id: str | None, idempotency_key: str, settings: RechargeSettings | None
) -> CallOutcome:
    """Sets auto-recharge. If `settings` is None, switches it off."""
    number = context.account_of_manager(OPERATION, account_id)

    async def work(transaction: LedgerTransaction) -> CallOutcome:
        actor = await acting_key(transaction, context.principal)

        async def put() -> None:
            connection, now = transaction.connection, transaction.clock()
            old = describe_settings(await recharges.lock_settings(connection, number))
            if settings is None:
                row = await switch_off(connection, number, now)
            else:
                row = await put_settings(connection, number, settings, now)
            entry = AuditedAction(OPERATION, actor, number, old_value=old, new_value=describe_settings(row))
            await note(transaction, entry)

        payload = None if settings is None else astuple(settings)
        return await run_once_on_account(transaction, IdempotentCall(OPERATION, idempotency_key, payload, number), put)

    return await context.run(work, number)
