from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

import strawberry
from strawberry import Info

from db.filters import TotalsFilter
from db.hour_totals import CostHourFigures
from execution.calls import PREFETCH
from resolvers.context import QueryContext
from resolvers.reads import hour_totals
from resolvers.reads.hour_totals import CostGroupRow, TotalsKey, TotalsPage
from resolvers.reads.totals_filters import MAX_DIMENSIONS, cost_totals_filter
from schema import totals as texts
from schema.connection import Words, connection
from schema.kinds import CostDimension, CostKind, RefType
from schema.scalars import Month, Nanos
from schema.usage import DateRange


@strawberry.type(description="Cost with the same values of the dimensions that were asked for.")
class CostGroup:
    hour: datetime | None = strawberry.field(description=texts.HOUR + ".")
    day: date | None = strawberry.field(description=texts.DAY + ".")
    week: date | None = strawberry.field(description=texts.WEEK + ".")
    month: Month | None = strawberry.field(description=texts.MONTH + ".")
    kind: CostKind | None = strawberry.field(description="Cause of the cost; null unless grouped by KIND.")
    ref_type: RefType | None = strawberry.field(
        description="The kind of resource; null if the rows name none, or unless grouped by RESOURCE."
    )
    ref_id: str | None = strawberry.field(
        description="Id of the resource; null for API usage, or unless grouped by RESOURCE."
    )
    api_key: str | None = strawberry.field(name="apiKeyId", description=texts.API_KEY)
    project: str | None = strawberry.field(description=texts.PROJECT)
    gross_nanos: Nanos = strawberry.field(name="gross", description="Deductions, before anything was returned.")
    refunded_nanos: Nanos = strawberry.field(name="refunded", description="Amount returned from holds.")
    cost_nanos: Nanos = strawberry.field(name="cost", description="Net cost: gross minus refunded.")
    share_nanos: Nanos | None = strawberry.field(name="shareOfCost", description=texts.SHARE)


@strawberry.type(description="Sums over all groups, not only those on the page.")
class CostGroupTotals:
    gross_nanos: Nanos = strawberry.field(name="gross", description="Deductions, before anything was returned.")
    refunded_nanos: Nanos = strawberry.field(name="refunded", description="Amount returned from holds.")
    cost_nanos: Nanos = strawberry.field(name="cost", description="Net cost: gross minus refunded.")


@strawberry.type(
    description="Cost of the usage in a window, compared with what the account was charged for API usage in it."
    " Usage counts by the time of its calls, charges by the time of their rows. The difference has two parts, one for"
    " each reason."
)
class UsageDifference:
    usage_nanos: Nanos = strawberry.field(name="usageCost", description="Cost of the usage, as `usageTotals` has it.")
    charged_nanos: Nanos = strawberry.field(name="charged", description="Cost of the rows of API usage.")
    difference_nanos: Nanos = strawberry.field(
        name="difference", description="Usage cost minus charged: `imported` plus `shifted`."
    )
    imported_nanos: Nanos = strawberry.field(
        name="imported", description="Cost of usage that was imported. Imported usage is not charged."
    )
    shifted_nanos: Nanos = strawberry.field(
        name="shifted",
        description="The rest: cost of usage that was charged in another window, because its row was written later."
        " Negative if usage of another window was charged here, or if an imported rollup replaced charged usage.",
    )


@strawberry.field(description="Sums over all groups, not only those on the page.", graphql_type=CostGroupTotals)
def totals(self: TotalsPage[CostGroupRow]) -> CostHourFigures:
    assert isinstance(self.totals, CostHourFigures)
    return self.totals


@strawberry.field(
    description="Whether rows may still be written in the window. False 5 minutes after its end, or with the first row"
    " after it.",
    metadata={PREFETCH: hour_totals.prefetch_cost_is_open},
)
async def is_open(self: TotalsPage[Any], info: Info[QueryContext, None]) -> bool:
    return await hour_totals.cost_is_open(info.context, self)


@strawberry.field(
    description="Difference between usage and ledger in the window, for the filter's API keys and projects. Other"
    " conditions do not count.",
    graphql_type=UsageDifference,
    metadata={PREFETCH: hour_totals.prefetch_usage_difference},
)
async def usage_difference(self: TotalsPage[Any], info: Info[QueryContext, None]) -> hour_totals.UsageDifference:
    return await hour_totals.usage_difference(info.context, self)


CostGroupConnection = connection(
    CostGroup,
    f"A page of groups of cost. {texts.ORDER}",
    Words("A group", "groups", "groups", cursors_of="this list with the same filter, dimensions and time zone"),
    count=hour_totals.group_count,
    others=[totals, *texts.WINDOW, is_open, usage_difference],
)


@strawberry.input(name="CostFilter", description="Conditions that must all match. An empty list matches nothing.")
class CostFilterInput:
    day: DateRange | None = strawberry.field(
        default=None, description="Only cost of rows recorded in this range of days."
    )
    kinds: list[CostKind] | None = strawberry.field(default=None, description="Only cost with one of these causes.")
    ref_type: RefType | None = strawberry.field(default=None, description="Only cost of this kind of resource.")
    ref_id: str | None = strawberry.field(
        default=None,
        description="Only cost of exactly this resource: 1 to 200 characters. API usage has no id here.",
    )
    api_key_ids: list[str] | None = strawberry.field(default=None, description=texts.API_KEYS)
    without_api_key: bool | None = strawberry.field(default=None, description=texts.WITHOUT_API_KEY)
    projects: list[str] | None = strawberry.field(default=None, description=texts.PROJECTS)
    without_project: bool | None = strawberry.field(default=None, description=texts.WITHOUT_PROJECT)


GroupByArgument = Annotated[
    list[CostDimension] | None,
    strawberry.argument(
        description=f"Properties by which cost is grouped: at most {MAX_DIMENSIONS}, of which one may be HOUR, DAY,"
        " WEEK or MONTH. If omitted, all cost is one group."
    ),
]
FilterArgument = Annotated[
    CostFilterInput | None, strawberry.argument(description="Filters the cost that is added up.")
]


def filter_of(
    group_by: list[CostDimension] | None, given: CostFilterInput | None, time_zone: str | None
) -> TotalsFilter:
    given = given or CostFilterInput()
    day = given.day or DateRange()
    return cost_totals_filter(
        group_by=group_by,
        time_zone=time_zone,
        day_gte=day.gte,
        day_lt=day.lt,
        kinds=given.kinds,
        ref_type=given.ref_type,
        ref_id=given.ref_id,
        api_keys=given.api_key_ids,
        without_api_key=given.without_api_key,
        projects=given.projects,
        without_project=given.without_project,
    )


def prefetch_cost_totals(
    reads: QueryContext,
    account_id: int,
    group_by: list[CostDimension] | None = None,
    filter: CostFilterInput | None = None,  # noqa: A002
    time_zone: str | None = None,
    first: int | None = None,
    after: str | None = None,
) -> TotalsKey | None:
    return hour_totals.COST_LIST.prefetch(reads, account_id, filter_of(group_by, filter, time_zone), first, after)
