from __future__ import annotations

from access.keys import ServiceOperation
from ledger import grants
from ledger.commands import Order, Outcome
from resolvers.mutations.context import Writes


async def grant_bonus(
    writes: Writes,
    account_id: str,
    idempotency_key: str,
    *,
    amount_nanos: int,
    promotion: str,
    description: str | None,
) -> Outcome:
    operation = ServiceOperation.GRANT_BONUS
    number = writes.account_of_service(operation, account_id)
    entry = grants.bonus(amount_nanos, promotion, description)
    payload = [amount_nanos, promotion, description]
    return await writes.post(Order(number, writes.service(), (entry,), operation.value, idempotency_key, payload))
