from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

import strawberry
from strawberry import Info

from db.filters import TotalsFilter
from db.hour_totals import UsageHourFigures
from execution.calls import PREFETCH
from resolvers.context import QueryContext
from resolvers.reads import hour_totals
from resolvers.reads.hour_totals import TotalsKey, TotalsPage, UsageGroupRow
from resolvers.reads.totals_filters import MAX_DIMENSIONS, usage_totals_filter
from schema import totals as texts
from schema.connection import Words, connection
from schema.kinds import UsageCategory, UsageDimension, UsageOrigin
from schema.scalars import BigInteger, Month, Nanos
from schema.usage import DateRange

_UNDIVIDED = " or for the usage of undivided days."


@strawberry.type(description="Usage with the same values of the dimensions that were asked for.")
class UsageGroup:
    hour: datetime | None = strawberry.field(description=texts.HOUR + _UNDIVIDED)
    day: date | None = strawberry.field(description=texts.DAY + _UNDIVIDED)
    week: date | None = strawberry.field(description=texts.WEEK + _UNDIVIDED)
    month: Month | None = strawberry.field(description=texts.MONTH + _UNDIVIDED)
    model: str | None = strawberry.field(description="Id of the model; null unless grouped by MODEL.")
    category: UsageCategory | None = strawberry.field(description="Kind of model; null unless grouped by CATEGORY.")
    origin: UsageOrigin | None = strawberry.field(description="Provider of the model; null unless grouped by ORIGIN.")
    api_key: str | None = strawberry.field(name="apiKeyId", description=texts.API_KEY)
    project: str | None = strawberry.field(description=texts.PROJECT)
    calls: BigInteger = strawberry.field(description="Number of requests.")
    input_tokens: BigInteger = strawberry.field(description="Tokens sent to the models.")
    cached_input_tokens: BigInteger = strawberry.field(description="Part of the input tokens that was cached.")
    output_tokens: BigInteger = strawberry.field(description="Tokens that the models generated.")
    reasoning_tokens: BigInteger = strawberry.field(description="Part of the output tokens spent on reasoning.")

    @strawberry.field(description="Input plus output tokens.", graphql_type=BigInteger)
    def tokens(self: UsageGroupRow) -> int:
        return self.input_tokens + self.output_tokens

    units_nanos: Nanos = strawberry.field(name="units", description="Units such as images and seconds.")
    cost_nanos: Nanos = strawberry.field(name="cost", description="Cost of the calls in US dollars.")
    share_nanos: Nanos | None = strawberry.field(name="shareOfCost", description=texts.SHARE)


@strawberry.type(description="Sums over all groups, not only those on the page.")
class UsageGroupTotals:
    calls: BigInteger = strawberry.field(description="Number of requests.")
    input_tokens: BigInteger = strawberry.field(description="Tokens sent to the models.")
    cached_input_tokens: BigInteger = strawberry.field(description="Part of the input tokens that was cached.")
    output_tokens: BigInteger = strawberry.field(description="Tokens that the models generated.")
    reasoning_tokens: BigInteger = strawberry.field(description="Part of the output tokens spent on reasoning.")

    @strawberry.field(description="Input plus output tokens.", graphql_type=BigInteger)
    def tokens(self: UsageHourFigures) -> int:
        return self.input_tokens + self.output_tokens

    units_nanos: Nanos = strawberry.field(name="units", description="Units such as images and seconds.")
    cost_nanos: Nanos = strawberry.field(name="cost", description="Cost of the calls in US dollars.")


@strawberry.field(description="Sums over all groups, not only those on the page.", graphql_type=UsageGroupTotals)
def totals(self: TotalsPage[UsageGroupRow]) -> UsageHourFigures:
    assert isinstance(self.totals, UsageHourFigures)
    return self.totals


@strawberry.field(
    description="Whether services may still report usage of the window. True if the window has no end or ends after"
    " `completeUntil`, or if `completeUntil` is null.",
    metadata={PREFETCH: hour_totals.prefetch_complete_until},
)
async def is_open(self: TotalsPage[Any], info: Info[QueryContext, None]) -> bool:
    return await hour_totals.usage_is_open(info.context, self)


@strawberry.field(
    description="UTC days whose usage could not be divided among the groups, newest first and at most 1000. Usage that"
    " was imported as daily figures, or was recorded before hours were kept, is known by its UTC day only. Such a day"
    " is listed in two cases. First: it belongs to several hours, days, weeks or months of the time zone. Then its"
    " usage is in a group that has null for them. Second: only a part of it is in the window. Then its usage is not in"
    " the answer. Always empty for days, weeks and months of UTC.",
    metadata={PREFETCH: hour_totals.prefetch_undivided_days},
)
async def undivided_days(self: TotalsPage[Any], info: Info[QueryContext, None]) -> list[date]:
    return await hour_totals.undivided_days(info.context, self)


UsageGroupConnection = connection(
    UsageGroup,
    f"A page of groups of usage. {texts.ORDER}",
    Words("A group", "groups", "groups", cursors_of="this list with the same filter, dimensions and time zone"),
    count=hour_totals.group_count,
    others=[totals, *texts.WINDOW, is_open, undivided_days],
)


@strawberry.input(description="Conditions that must all match. An empty list matches nothing.")
class UsageTotalsFilter:
    day: DateRange | None = strawberry.field(default=None, description="Only usage in this range of days.")
    models: list[str] | None = strawberry.field(default=None, description="Only usage of these models, at most 100.")
    categories: list[UsageCategory] | None = strawberry.field(
        default=None, description="Only usage in one of these categories."
    )
    origins: list[UsageOrigin] | None = strawberry.field(
        default=None, description="Only usage from one of these origins."
    )
    api_key_ids: list[str] | None = strawberry.field(default=None, description=texts.API_KEYS)
    without_api_key: bool | None = strawberry.field(default=None, description=texts.WITHOUT_API_KEY)
    projects: list[str] | None = strawberry.field(default=None, description=texts.PROJECTS)
    without_project: bool | None = strawberry.field(default=None, description=texts.WITHOUT_PROJECT)


GroupByArgument = Annotated[
    list[UsageDimension] | None,
    strawberry.argument(
        description=f"Properties by which usage is grouped: at most {MAX_DIMENSIONS}, of which one may be HOUR, DAY,"
        " WEEK or MONTH. If omitted, all usage is one group."
    ),
]
FilterArgument = Annotated[
    UsageTotalsFilter | None, strawberry.argument(description="Filters the usage that is added up.")
]


def filter_of(
    group_by: list[UsageDimension] | None, given: UsageTotalsFilter | None, time_zone: str | None
) -> TotalsFilter:
    given = given or UsageTotalsFilter()
    day = given.day or DateRange()
    return usage_totals_filter(
        group_by=group_by,
        time_zone=time_zone,
        day_gte=day.gte,
        day_lt=day.lt,
        models=given.models,
        categories=given.categories,
        origins=given.origins,
        api_keys=given.api_key_ids,
        without_api_key=given.without_api_key,
        projects=given.projects,
        without_project=given.without_project,
    )


def prefetch_usage_totals(
    reads: QueryContext,
    account_id: int,
    group_by: list[UsageDimension] | None = None,
    filter: UsageTotalsFilter | None = None,  # noqa: A002
    time_zone: str | None = None,
    first: int | None = None,
    after: str | None = None,
) -> TotalsKey | None:
    return hour_totals.USAGE_LIST.prefetch(reads, account_id, filter_of(group_by, filter, time_zone), first, after)
