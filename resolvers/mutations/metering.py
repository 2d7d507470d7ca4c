from __future__ import annotations

from access.keys import ServiceOperation
from ledger.commands import Outcome
from ledger.metering import UsageBatch, usage_posting
from resolvers.mutations.context import MutationContext


async def record(context: MutationContext, account_id: str, idempotency_key: str, batch: UsageBatch) -> Outcome:
    number = context.account_of_service(ServiceOperation.RECORD_USAGE, account_id)
    return await context.post(usage_posting(number, context.service(), idempotency_key, batch, context.now))
