from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from ledger.metering import MAX_REQUESTS, MeteredRequest, UsageBatch
from ledger.moves import Outcome
from ledger.texts import DESCRIPTION, MODEL, REF_ID, REQUEST_ID
from resolvers import metering
from resolvers.writes import Writes
from schema.kinds import UsageCategory, UsageOrigin
from schema.payload import ACCOUNT, Call, Payload
from schema.scalars import BigInteger, Nanos


@strawberry.input(description="One API call.")
class UsageRequestInput:
    id: str = strawberry.field(
        description=f"{REQUEST_ID.bounds} by which the account's requests are told apart: each is counted and"
        " charged once, in whatever batches it comes. Requests of imported logs have the same ids."
    )
    at: datetime = strawberry.field(
        description="When the call was made; its UTC day is the day of its usage. At most 5 minutes ahead."
    )
    model: str = strawberry.field(description=f"Id of the model that was called: {MODEL.bounds}.")
    category: UsageCategory = strawberry.field(description="Kind of model.")
    origin: UsageOrigin = strawberry.field(default=UsageOrigin.PLATFORM, description="Whose model it was.")
    input_tokens: BigInteger = strawberry.field(default=BigInteger(0), description="Tokens sent to the model.")
    output_tokens: BigInteger = strawberry.field(default=BigInteger(0), description="Tokens that the model made.")
    cost: Nanos = strawberry.field(description="What the call costs: zero or more, rounded by the caller.")


@strawberry.input(description="API calls of one account.")
class RecordUsageInput(Call):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    requests: list[UsageRequestInput] = strawberry.field(
        description=f"1 to {MAX_REQUESTS}. A request body has a limit too: 1 MiB unless the server is set otherwise."
    )
    batch_id: str | None = strawberry.field(
        default=None,
        description=f"What refId names on the row: {REF_ID.bounds}; the idempotency key if left out.",
    )
    description: str | None = strawberry.field(
        default=None,
        description=f"The row's description: {DESCRIPTION.bounds}. If left out:"
        " `API usage m-large: 812 calls, 1,204,000 in + 310,500 out tokens`, or `API usage of 3 models: …`.",
    )


@strawberry.type(
    description="What recordUsage did: one row for the batch, or none if what was new in it costs nothing."
)
class RecordUsagePayload(Payload):
    result: int = strawberry.field(
        name="recorded", description="How many of the requests were new. The others had been counted before."
    )


RecordUsageArgument = Annotated[RecordUsageInput, strawberry.argument(description="Which calls were made.")]


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
        description="Counts API calls, and charges those that are new by one row for the whole batch, even below zero."
        " For service keys. CONFLICT where the usage of a request's day and model is known from an imported rollup:"
        " nothing of the batch is recorded then.",
        graphql_type=RecordUsagePayload,
    )
    async def record_usage(self, info: Info[Writes, None], input: RecordUsageArgument) -> Outcome:  # noqa: A002
        return await metering.record(info.context, input.account_id, input.idempotency_key, _batch(input))
