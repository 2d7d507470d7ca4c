from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import strawberry
from strawberry import Info

from db.filters import ALL_USAGE, UsageFilter
from db.rows import UsageDayRow, UsageFigures
from execution.attributes import ANY, PROJECTION, Projection
from execution.calls import PREFETCH
from resolvers.context import QueryContext
from resolvers.pages import Page
from resolvers.reads import usage
from schema.connection import Words, connection
from schema.kinds import UsageCategory, UsageOrigin
from schema.projection import OF_THE_LIST, page_projection
from schema.scalars import BigInteger, Nanos


@strawberry.type(description="Calls of one model on one UTC day, in one category and from one origin.")
class UsageDay:
    day: date = strawberry.field(description="UTC day of the calls' timestamps.")
    model: str = strawberry.field(description="Id of the model that was called.")
    category: UsageCategory = strawberry.field(description="The kind of model.")
    origin: UsageOrigin = strawberry.field(description="Who provides the model.")
    calls: BigInteger = strawberry.field(description="Number of requests.")
    input_tokens: BigInteger = strawberry.field(description="Tokens sent to the model.")
    output_tokens: BigInteger = strawberry.field(description="Tokens that the model generated.")

    @strawberry.field(
        description="Input plus output tokens.",
        graphql_type=BigInteger,
        metadata={PROJECTION: ("input_tokens", "output_tokens")},
    )
    def tokens(self: UsageDayRow) -> int:
        return self.input_tokens + self.output_tokens

    cost_nanos: Nanos = strawberry.field(name="cost", description="Cost of the calls in US dollars.")


@strawberry.type(
    description="Sums over all rows that match the filter, not only those on the page. All categories count."
)
class UsageTotals:
    calls: BigInteger = strawberry.field(description="Number of requests.")
    input_tokens: BigInteger = strawberry.field(description="Tokens sent to the models.")
    output_tokens: BigInteger = strawberry.field(description="Tokens that the models generated.")

    @strawberry.field(description="Input plus output tokens.")
    def tokens(self: UsageFigures) -> BigInteger:
        return BigInteger(self.input_tokens + self.output_tokens)

    cost_nanos: Nanos = strawberry.field(name="cost", description="Cost of the calls in US dollars.")


@strawberry.field(
    description="Sums over all rows that match the filter. Computed only when requested.",
    graphql_type=UsageTotals,
    metadata={PREFETCH: usage.prefetch_totals, PROJECTION: OF_THE_LIST},
)
async def totals(self: Page[UsageDayRow], info: Info[QueryContext, None]) -> UsageFigures:
    return await usage.usage_totals(info.context, self)


UsageDayConnection = connection(
    UsageDay,
    "A page of usage days, newest first in either direction. Rows of one day are in descending order of model,"
    " category and origin.",
    Words("A usage day", "rows", "rows that match the filter"),
    count=usage.usage_count,
    prefetch_count=usage.prefetch_totals,
    others=[totals],
)


@strawberry.input(description="A range of days: of UTC, or of the field's `timeZone` if there is one.")
class DateRange:
    gte: date | None = strawberry.field(default=None, description="On this day or later.")
    lt: date | None = strawberry.field(default=None, description="Before this day.")


@strawberry.input(name="UsageFilter", description="Conditions that must all match. An empty list matches nothing.")
class UsageFilterInput:
    day: DateRange | None = strawberry.field(default=None, description="Only usage in this range of days.")
    models: list[str] | None = strawberry.field(default=None, description="Only usage of these models, at most 100.")
    categories: list[UsageCategory] | None = strawberry.field(
        default=None, description="Only usage in one of these categories."
    )
    origins: list[UsageOrigin] | None = strawberry.field(
        default=None, description="Only usage from one of these origins."
    )


FilterArgument = Annotated[
    UsageFilterInput | None, strawberry.argument(description="Filters the list, its count and its totals.")
]


def filter_of(given: UsageFilterInput | None) -> UsageFilter:
    if given is None:
        return ALL_USAGE
    day = given.day or DateRange()
    return usage.usage_filter(
        day_gte=day.gte, day_lt=day.lt, models=given.models, categories=given.categories, origins=given.origins
    )


def prefetch_usage(
    reads: QueryContext,
    account_id: int,
    filter: UsageFilterInput | None = None,  # noqa: A002
    projection: Projection = ANY,
    **paging: Any,
) -> usage.PageKey:
    """Prefetches the page's rows."""
    return usage.prefetch_page(
        reads, account_id, filter_of(filter), page_projection=page_projection(projection), **paging
    )
