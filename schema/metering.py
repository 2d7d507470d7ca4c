from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from ledger.commands import Outcome
from ledger.metering import MAX_REQUESTS, MeteredRequest, UsageBatch
from ledger.texts import DESCRIPTION, MODEL, REF_ID, REQUEST_ID
from resolvers.mutations import metering
from resolvers.mutations.context import MutationContext
from schema.kinds import UsageCategory, UsageOrigin
from schema.payload import ACCOUNT, MutationInput, Payload
from schema.scalars import BigInteger, Nanos


@strawberry.input(description="One API call.")
class UsageRequestInput:
    id: str = strawberry.field(
        description=f"Id of the request, unique in the account: {REQUEST_ID.bounds}. A request is counted and charged"
        " once, even if several batches contain it. Requests from imported logs share the same ids."
    )
    at: datetime = strawberry.field(
        description="When the call was made. Its usage counts in the UTC day of this time. At most 5 minutes in the"
        " future."
    )
    model: str = strawberry.field(description=f"Id of the model that was called: {MODEL.bounds}.")
    category: UsageCategory = strawberry.field(description="The kind of model.")
    origin: UsageOrigin = strawberry.field(default=UsageOrigin.PLATFORM, description="Who provides the model.")
    input_tokens: BigInteger = strawberry.field(default=BigInteger(0), description="Tokens sent to the model.")
    output_tokens: BigInteger = strawberry.field(default=BigInteger(0), description="Tokens that the model generated.")
    cost: Nanos = strawberry.field(description="Cost of the call: zero or more, rounded by the caller.")


@strawberry.input(description="API calls of one account to record.")
class RecordUsageInput(MutationInput):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    requests: list[UsageRequestInput] = strawberry.field(
        description=f"The API calls: 1 to {MAX_REQUESTS}. The request body is limited too, to 1 MiB unless the server"
        " is configured otherwise."
    )
    batch_id: str | None = strawberry.field(
        default=None,
        description=f"Id of the batch: {REF_ID.bounds}; the idempotency key if omitted. It becomes the row's refId.",
    )
    description: str | None = strawberry.field(
        default=None,
        description=f"The row's description: {DESCRIPTION.bounds}. If omitted: `API usage m-large: 812 calls,"
        " 1,204,000 in + 310,500 out tokens`, or `API usage of 3 models: …`.",
    )


@strawberry.type(
    description="Result of recordUsage. The batch writes one row, or none if its new requests cost nothing."
)
class RecordUsagePayload(Payload):
    result: int = strawberry.field(
        name="recorded", description="Number of requests that were new. The others had been counted before."
    )


RecordUsageArgument = Annotated[RecordUsageInput, strawberry.argument(description="The API calls to record.")]


def _batch(given: RecordUsageInput) -> UsageBatch:
    requests = [
        MeteredRequest(
            one.id,
            one.at,
            one.model,
            one.category,
            one.origin,
            one.input_tokens,
            one.output_tokens,
            one.cost,
        )
        for one in given.requests
    ]
    return UsageBatch(requests, given.batch_id, given.description)


@strawberry.type
class MeteringMutations:
    @strawberry.mutation(
        description="Records API calls and charges the new ones with one row for the whole batch, even if the"
        " balance becomes negative. For service keys. Fails with CONFLICT, and records nothing of the batch, if an"
        " imported rollup already has the usage of a request's day and model.",
        graphql_type=RecordUsagePayload,
    )
    async def record_usage(self, info: Info[MutationContext, None], input: RecordUsageArgument) -> Outcome:  # noqa: A002
        return await metering.record(info.context, input.account_id, input.idempotency_key, _batch(input))
