from __future__ import annotations

from access.keys import ServiceOperation
from ledger import grants
from ledger.commands import Outcome, Posting
from resolvers.mutations.context import MutationContext


async def grant_bonus(
    context: MutationContext,
    account_id: str,
    idempotency_key: str,
    *,
    amount_nanos: int,
    promotion: str,
    description: str | None,
) -> Outcome:
    operation = ServiceOperation.GRANT_BONUS
    number = context.account_of_service(operation, account_id)
    entry = grants.bonus(amount_nanos, promotion, description)
    payload = [amount_nanos, promotion, description]
    return await context.post(Posting(number, context.service(), (entry,), operation.value, idempotency_key, payload))
