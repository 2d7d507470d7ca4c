from __future__ import annotations

from access.keys import ServiceOperation
from ledger.commands import Outcome
from ledger.metering import UsageBatch, usage_order
from resolvers.mutations.context import Writes


async def record(writes: Writes, account_id: str, idempotency_key: str, batch: UsageBatch) -> Outcome:
    number = writes.account_of_service(ServiceOperation.RECORD_USAGE, account_id)
    return await writes.post(usage_order(number, writes.service(), idempotency_key, batch, writes.now))
