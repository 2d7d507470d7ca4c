from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from ledger.commands import Outcome
from ledger.metering import MAX_REQUESTS, MeteredRequest, UsageBatch
from ledger.texts import DESCRIPTION, END_USER, MODEL, REF_ID, REQUEST_ID
from ledger.usage_prices import UsagePrice
from resolvers.mutations import metering
from resolvers.mutations.context import MutationContext
from schema.attribution import KEY_ARGUMENT, PROJECT_ARGUMENT
from schema.authorization import Authorization
from schema.kinds import UsageCategory, UsageOrigin
from schema.payload import ACCOUNT, MutationInput, Payload
from schema.scalars import BigInteger, Nanos
from schema.spend_limit import SpendLimit


@strawberry.input(
    description="Prices of one call, in US dollars with at most nine fraction digits, each zero or more. The cost is"
    " the sum of quantity times price, rounded half-even once to nano-dollars."
)
class UsagePriceInput:
    input_per_million: Nanos = strawberry.field(default=Nanos(0), description="Per million input tokens.")
    cached_input_per_million: Nanos | None = strawberry.field(
        default=None, description="Per million cached input tokens; the price of the other input tokens if omitted."
    )
    output_per_million: Nanos = strawberry.field(default=Nanos(0), description="Per million output tokens.")
    reasoning_per_million: Nanos | None = strawberry.field(
        default=None, description="Per million reasoning tokens; the price of the other output tokens if omitted."
    )
    per_unit: Nanos = strawberry.field(default=Nanos(0), description="Per unit.")
    per_call: Nanos = strawberry.field(default=Nanos(0), description="Per call.")


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
    cached_input_tokens: BigInteger = strawberry.field(
        default=BigInteger(0), description="The part of the input tokens that was read from a cache."
    )
    reasoning_tokens: BigInteger = strawberry.field(
        default=BigInteger(0), description="The part of the output tokens that the model spent on reasoning."
    )
    units: Nanos = strawberry.field(
        default=Nanos(0), description="Number of units with a price of their own: images, or seconds of audio or video."
    )
    cost: Nanos | None = strawberry.field(
        default=None,
        description="Cost of the call: zero or more. If omitted, it is computed from the price. If a price is given"
        " too, both must agree to the nano-dollar. A cost without a price is kept as given.",
    )
    price: UsagePriceInput | None = strawberry.field(
        default=None,
        description="The price of the call. If cost and price are omitted, the price comes from the server's price"
        " table, as it was at the time of the call; BAD_USER_INPUT if it has none for the model.",
    )
    api_key_id: str | None = strawberry.field(default=None, description=KEY_ARGUMENT)
    project: str | None = strawberry.field(default=None, description=PROJECT_ARGUMENT)
    end_user: str | None = strawberry.field(
        default=None,
        description=f"The customer's own user who made the call: {END_USER.bounds}. Kept with the request only.",
    )


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
    authorization_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="The authorization that pays for the calls: `auth_7_3`. Calls that name no apiKeyId or project"
        " get those of the authorization; others must have the same. Fails with CONFLICT if the authorization has"
        " expired or was closed: send the calls again without it, and they are recorded and owed.",
    )
    final_capture: bool = strawberry.field(
        default=True,
        description="Whether this is the last capture, which gives back the rest of the authorization. Set false for"
        " a lease from which more is captured later.",
    )


@strawberry.type(
    description="Result of recordUsage. The batch writes one row, or none if its new requests cost nothing."
)
class RecordUsagePayload(Payload):
    result: int = strawberry.field(
        name="recorded", description="Number of requests that were new. The others had been counted before."
    )
    authorization: Authorization | None = strawberry.field(
        description="The authorization that paid, in its current state; null if none was named. `excess` is what the"
        " calls cost beyond it."
    )
    exceeded: list[SpendLimit] = strawberry.field(
        name="exceededLimits",
        description="The spend limits of the account, keys and projects of these calls that are exceeded now. Usage"
        " without an authorization is recorded and owed nevertheless.",
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
            one.api_key_id,
            one.project,
            one.end_user,
            one.cached_input_tokens,
            one.reasoning_tokens,
            one.units,
            None if one.price is None else _price(one.price),
        )
        for one in given.requests
    ]
    return UsageBatch(requests, given.batch_id, given.description)


def _price(given: UsagePriceInput) -> UsagePrice:
    return UsagePrice(
        given.input_per_million,
        given.cached_input_per_million,
        given.output_per_million,
        given.reasoning_per_million,
        given.per_unit,
        given.per_call,
    )


@strawberry.type
class MeteringMutations:
    @strawberry.mutation(
        description="Records API calls and charges the new ones with one row for the whole batch, even if the"
        " balance becomes negative or a spend limit is exceeded: what was used is owed. For service keys. Fails with"
        " CONFLICT, and records nothing of the batch, if an"
        " imported rollup already has the usage of a request's day and model.",
        graphql_type=RecordUsagePayload,
    )
    async def record_usage(self, info: Info[MutationContext, None], input: RecordUsageArgument) -> Outcome:  # noqa: A002
        batch, authorization_id = _batch(input), input.authorization_id
        if authorization_id is not None:
            batch = metering.captured(batch, input.account_id, authorization_id, is_final=input.final_capture)
        return await metering.record(info.context, input.account_id, input.idempotency_key, batch)
