from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import strawberry
from strawberry import Info

from db.attribution_rows import RequestDetailRow, UsagePriceRow
from db.filters import ALL_USAGE_REQUESTS, UsageRequestFilter
from db.rows import TransactionRow
from execution.attributes import PROJECTION
from resolvers.context import QueryContext
from resolvers.reads import usage_requests
from resolvers.reads.usage_requests import MAX_VALUES
from schema.attribution import OF_KEY, OF_PROJECT, UNKNOWN
from schema.connection import Words, connection
from schema.kinds import PriceSource, UsageCategory, UsageOrigin
from schema.scalars import BigInteger, Nanos
from schema.transaction import DateTimeRange, Transaction

_PER_MILLION = "US dollars per million"


@strawberry.type(
    description="A price of usage. The cost of a request is the sum of its quantities, each multiplied by its price,"
    " rounded half-even once to nano-dollars."
)
class UsagePrice:
    input_nanos: Nanos = strawberry.field(
        name="inputPerMillion",
        description=f"{_PER_MILLION} input tokens, without the cached ones if `cachedInputPerMillion` is set.",
    )
    cached_input_nanos: Nanos | None = strawberry.field(
        name="cachedInputPerMillion",
        description=f"{_PER_MILLION} cached input tokens; null if they cost the same as the other input tokens.",
    )
    output_nanos: Nanos = strawberry.field(
        name="outputPerMillion",
        description=f"{_PER_MILLION} output tokens, without the reasoning tokens if `reasoningPerMillion` is set.",
    )
    reasoning_nanos: Nanos | None = strawberry.field(
        name="reasoningPerMillion",
        description=f"{_PER_MILLION} reasoning tokens; null if they cost the same as the other output tokens.",
    )
    unit_nanos: Nanos = strawberry.field(
        name="perUnit", description="US dollars per unit: image, second of audio and the like."
    )
    call_nanos: Nanos = strawberry.field(name="perCall", description="US dollars per request.")
    valid_from: datetime | None = strawberry.field(
        name="from", description="When the price takes effect; null if not given."
    )
    valid_until: datetime | None = strawberry.field(
        name="until", description="When the price ends (exclusive); null if not given."
    )
    source: PriceSource = strawberry.field(description="Where the price comes from.")


@strawberry.type(
    description="A single request to a model, with its cost and the price that it was computed from. Requests are kept"
    " for a number of days that the operator sets; the figures by hour and by day are kept forever."
)
class UsageRequest:
    request_id: str | None = strawberry.field(
        name="id", description="The request's own id; null for a request that was imported without one."
    )
    at: datetime = strawberry.field(description="Time of the request.")
    model: str = strawberry.field(description="Id of the model that was called.")
    category: UsageCategory = strawberry.field(description="The kind of model.")
    origin: UsageOrigin = strawberry.field(description="Who provides the model.")
    api_key: str | None = strawberry.field(name="apiKeyId", description=f"{OF_KEY} {UNKNOWN}")
    project: str | None = strawberry.field(description=f"{OF_PROJECT} {UNKNOWN}")
    end_user: str | None = strawberry.field(description=f"The customer's own user who made the call. {UNKNOWN}")
    input_tokens: BigInteger = strawberry.field(description="Tokens sent to the model.")
    cached_input_tokens: BigInteger = strawberry.field(
        description="The part of the input tokens that the model had cached."
    )
    output_tokens: BigInteger = strawberry.field(description="Tokens that the model generated.")
    reasoning_tokens: BigInteger = strawberry.field(
        description="The part of the output tokens that the model spent on reasoning."
    )
    units_nanos: Nanos = strawberry.field(
        name="units", description="Number of images, seconds of audio and the like; not an amount of money."
    )
    cost_nanos: Nanos = strawberry.field(name="cost", description="Cost of the request in US dollars.")

    @strawberry.field(
        description="The price that the cost was computed from; null if the cost was given without a price.",
        graphql_type=UsagePrice | None,
        metadata={PROJECTION: ("account_id", "price_id")},
    )
    async def price(self: RequestDetailRow, info: Info[QueryContext, None]) -> UsagePriceRow | None:
        return await usage_requests.price_of(info.context, self)

    @strawberry.field(
        description="The ledger row that charged the request, together with the others of its batch; null if the"
        " request was imported or its batch cost nothing.",
        graphql_type=Transaction | None,
        metadata={PROJECTION: ("account_id", "seq")},
    )
    async def transaction(self: RequestDetailRow, info: Info[QueryContext, None]) -> TransactionRow | None:
        return await usage_requests.transaction_of(info.context, self)


UsageRequestConnection = connection(
    UsageRequest,
    "A page of requests, newest first by the time of the request.",
    Words("A request", "requests", "requests that match the filter and are still kept"),
    count=usage_requests.usage_request_count,
    prefetch_count=usage_requests.prefetch_count,
)

_AT_MOST = f"at most {MAX_VALUES}"


@strawberry.input(
    name="UsageRequestFilter",
    description="Conditions that must all match. An empty list matches nothing. A filter reads requests one by one"
    " from the cursor until the page is full; narrow it with `at`.",
)
class UsageRequestFilterInput:
    at: DateTimeRange | None = strawberry.field(default=None, description="Only requests in this range of time.")
    models: list[str] | None = strawberry.field(default=None, description=f"Only requests to these models, {_AT_MOST}.")
    categories: list[UsageCategory] | None = strawberry.field(
        default=None, description="Only requests in one of these categories."
    )
    origins: list[UsageOrigin] | None = strawberry.field(
        default=None, description="Only requests to models from one of these origins."
    )
    api_key_ids: list[str] | None = strawberry.field(
        default=None, description=f"Only requests with these keys of the customer, {_AT_MOST}."
    )
    projects: list[str] | None = strawberry.field(
        default=None, description=f"Only requests of these projects, {_AT_MOST}."
    )
    end_users: list[str] | None = strawberry.field(
        default=None, description=f"Only requests of these users of the customer, {_AT_MOST}."
    )


FilterArgument = Annotated[
    UsageRequestFilterInput | None, strawberry.argument(description="Filters the list and its count.")
]


def filter_of(given: UsageRequestFilterInput | None) -> UsageRequestFilter:
    if given is None:
        return ALL_USAGE_REQUESTS
    at = given.at or DateTimeRange()
    return usage_requests.usage_request_filter(
        at_gte=at.gte,
        at_lt=at.lt,
        models=given.models,
        categories=given.categories,
        origins=given.origins,
        api_key_ids=given.api_key_ids,
        projects=given.projects,
        end_users=given.end_users,
    )


def prefetch_usage_requests(
    reads: QueryContext,
    account_id: int,
    filter: UsageRequestFilterInput | None = None,  # noqa: A002
    **paging: Any,
) -> usage_requests.PageKey:
    """Prefetches the page's requests."""
    return usage_requests.prefetch_page(reads, account_id, filter_of(filter), **paging)
