from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import strawberry
from strawberry import Info

from db.criteria import ALL_USAGE, UsageCriteria
from db.rows import UsageDayRow
from db.usage import UsageTotalsRow
from execution.attributes import ANY, READS, Reading
from execution.calls import AHEAD
from resolvers import usage
from resolvers.context import Reads
from resolvers.pages import Page
from schema.kinds import UsageCategory, UsageOrigin
from schema.page_info import PageInfo
from schema.reading import OF_THE_LIST, needed
from schema.scalars import BigInteger, Nanos
from schema.transaction import EdgeRow, edge_rows


@strawberry.type(description="Calls of one model on one UTC day, of one category and origin.")
class UsageDay:
    day: date = strawberry.field(description="UTC day of the calls' timestamps.")
    model: str = strawberry.field(description="Id of the model that was called.")
    category: UsageCategory = strawberry.field(description="Kind of model.")
    origin: UsageOrigin = strawberry.field(description="Whose model it was.")
    calls: BigInteger = strawberry.field(description="Number of requests.")
    input_tokens: BigInteger = strawberry.field(description="Tokens sent to the model.")
    output_tokens: BigInteger = strawberry.field(description="Tokens that the model made.")

    @strawberry.field(
        description="Input plus output tokens.",
        graphql_type=BigInteger,
        metadata={READS: ("input_tokens", "output_tokens")},
    )
    def tokens(self: UsageDayRow) -> int:
        return self.input_tokens + self.output_tokens

    cost_nanos: Nanos = strawberry.field(name="cost", description="Cost of the calls in US dollars.")


@strawberry.type(description="Sums over the whole filter, not over the page. All categories count.")
class UsageTotals:
    calls: BigInteger = strawberry.field(description="Number of requests.")
    input_tokens: BigInteger = strawberry.field(description="Tokens sent to the models.")
    output_tokens: BigInteger = strawberry.field(description="Tokens that the models made.")

    @strawberry.field(description="Input plus output tokens.")
    def tokens(self: UsageTotalsRow) -> BigInteger:
        return BigInteger(self.input_tokens + self.output_tokens)

    cost_nanos: Nanos = strawberry.field(name="cost", description="Cost of the calls in US dollars.")


@strawberry.type(description="A usage day and its cursor.")
class UsageDayEdge:
    cursor: str = strawberry.field(description="Opaque. It pages in this list with this filter, and nowhere else.")
    node: UsageDay = strawberry.field(description="The usage day.")


@strawberry.type(
    description="A page of usage days, newest first whatever the direction; within a day by model, category and origin,"
    " backwards."
)
class UsageDayConnection:
    @strawberry.field(description="The page's rows with their cursors.", graphql_type=list[UsageDayEdge])
    def edges(self: Page[UsageDayRow]) -> list[EdgeRow]:
        return edge_rows(self)

    @strawberry.field(description="The page's rows.", graphql_type=list[UsageDay])
    def nodes(self: Page[UsageDayRow]) -> tuple[UsageDayRow, ...]:
        return self.rows

    @strawberry.field(description="Where the page lies in the list.", graphql_type=PageInfo)
    def page_info(self: Page[UsageDayRow]) -> Page[UsageDayRow]:
        return self

    @strawberry.field(
        description="Number of rows over the whole filter. Worked out when it is asked for.",
        metadata={AHEAD: usage.ask_totals, READS: OF_THE_LIST},
    )
    async def total_count(self: Page[UsageDayRow], info: Info[Reads, None]) -> BigInteger:
        return BigInteger(await usage.usage_count(info.context, self))

    @strawberry.field(
        description="Sums over the whole filter. Worked out when they are asked for.",
        graphql_type=UsageTotals,
        metadata={AHEAD: usage.ask_totals, READS: OF_THE_LIST},
    )
    async def totals(self: Page[UsageDayRow], info: Info[Reads, None]) -> UsageTotalsRow:
        return await usage.usage_totals(info.context, self)


@strawberry.input(description="A stretch of UTC days.")
class DateRange:
    gte: date | None = strawberry.field(default=None, description="On this day or later.")
    lt: date | None = strawberry.field(default=None, description="Before this day.")


@strawberry.input(description="All that is given must hold. An empty list matches nothing.")
class UsageFilter:
    day: DateRange | None = strawberry.field(default=None, description="In this stretch of days.")
    models: list[str] | None = strawberry.field(default=None, description="One of these models, at most 100.")
    categories: list[UsageCategory] | None = strawberry.field(default=None, description="One of these categories.")
    origins: list[UsageOrigin] | None = strawberry.field(default=None, description="One of these origins.")


FilterArgument = Annotated[
    UsageFilter | None, strawberry.argument(description="Narrows the list, its count and its totals.")
]


def criteria_of(given: UsageFilter | None) -> UsageCriteria:
    if given is None:
        return ALL_USAGE
    day = given.day or DateRange()
    return usage.usage_criteria(
        day_gte=day.gte, day_lt=day.lt, models=given.models, categories=given.categories, origins=given.origins
    )


def ask_usage(
    reads: Reads,
    account_id: int,
    filter: UsageFilter | None = None,  # noqa: A002
    reading: Reading = ANY,
    **paging: Any,
) -> usage.PageKey:
    """Asks for the page's rows ahead."""
    return usage.ask_page(reads, account_id, criteria_of(filter), needed=needed(reading), **paging)
