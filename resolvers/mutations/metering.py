from __future__ import annotations

from dataclasses import replace

from access.keys import ServiceOperation
from ledger.commands import Capture, Outcome
from ledger.errors import NotFound
from ledger.ids import parse_account_id
from ledger.metering import UsageBatch, usage_posting
from resolvers.mutations.authorizations import numbered
from resolvers.mutations.context import MutationContext


async def record(context: MutationContext, account_id: str, idempotency_key: str, batch: UsageBatch) -> Outcome:
    number = context.account_of_service(ServiceOperation.RECORD_USAGE, account_id)
    posting = usage_posting(number, context.service(), idempotency_key, batch, context.now, context.metering)
    return await context.post(posting)


def captured(batch: UsageBatch, account_id: str, authorization_id: str, *, is_final: bool) -> UsageBatch:
    """Returns the batch with the authorization that pays for it. Raises NotFound if it is of another account."""
    owner, number = numbered(authorization_id)
    if owner != parse_account_id(account_id):
        raise NotFound("there is no such authorization")
    return replace(batch, capture=Capture(number, is_final))
