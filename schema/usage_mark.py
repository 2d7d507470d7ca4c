from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from ledger.texts import SERVICE
from ledger.usage_marks import MAX_SERVICES, UsageMark
from resolvers.context import QueryContext
from resolvers.mutations import usage_marks
from resolvers.mutations.calls import CallOutcome
from resolvers.mutations.context import MutationContext
from resolvers.reads.usage_marks import complete_until
from schema.payload import ACCOUNT, MutationInput, Payload


@strawberry.input(description="The time up to which a service has reported all usage of an account.")
class MarkUsageCompleteInput(MutationInput):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    service: str = strawberry.field(
        description=f"Name of the service that reports usage: {SERVICE.bounds}. An account has at most {MAX_SERVICES}"
        " of them."
    )
    until: datetime | None = strawberry.field(
        description="The service has recorded all calls before this time. Not before the time that it gave last, and"
        " at most 5 minutes in the future. Null if the service no longer reports usage of the account: its time is"
        " forgotten."
    )


@strawberry.type(description="Result of markUsageComplete. It writes no rows.")
class MarkUsageCompletePayload(Payload):
    @strawberry.field(
        description="The time up to which all services have reported all usage: the earliest of their times. Null if"
        " no service reports usage of the account. Always the current state, even if the call is replayed."
    )
    async def complete_until(self: CallOutcome, info: Info[QueryContext, None]) -> datetime | None:
        return await complete_until(info.context, self.account_id)


MarkUsageCompleteArgument = Annotated[
    MarkUsageCompleteInput, strawberry.argument(description="The service and the time.")
]


@strawberry.type
class UsageMarkMutations:
    @strawberry.mutation(
        description="Says that a service has recorded all calls of an account before a time, so that figures up to this"
        " time are final. For service keys. Once a service has said so for an account, it must go on, or say by"
        " `until: null` that it has stopped: `completeUntil` is the earliest time of all services. Calls that are"
        " recorded late still count. Fails with CONFLICT if the service gave a later time before.",
        graphql_type=MarkUsageCompletePayload,
    )
    async def mark_usage_complete(
        self,
        info: Info[MutationContext, None],
        input: MarkUsageCompleteArgument,  # noqa: A002
    ) -> CallOutcome:
        mark = UsageMark(input.service, input.until)
        return await usage_marks.mark_complete(info.context, input.account_id, input.idempotency_key, mark)
