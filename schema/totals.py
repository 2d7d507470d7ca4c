"""Totals by hour: what the answers for usage and for cost have in common."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import strawberry
from strawberry import Info

from execution.calls import PREFETCH
from resolvers.context import QueryContext
from resolvers.reads import hour_totals
from resolvers.reads.hour_totals import TotalsPage
from resolvers.reads.totals_filters import MAX_NAMES

TimeZone = Annotated[
    str | None,
    strawberry.argument(
        description="Time zone of the days, by its name in the IANA database, such as `America/Los_Angeles`."
        " BAD_USER_INPUT for a time zone whose offset from UTC is not a whole number of hours in the window."
    ),
]
First = Annotated[
    int | None, strawberry.argument(description="Maximum number of groups to return: 1 to 1000. The default is 50.")
]
After = Annotated[str | None, strawberry.argument(description="Returns only groups after this cursor.")]

ORDER: Final = (
    "The newest hour, day, week or month comes first; within it, the group with the highest cost, and groups of equal"
    " cost in the order of their names. Groups exist only where there are rows."
)

HOUR: Final = "Start of the hour; null unless grouped by HOUR"
DAY: Final = "Day of the time zone; null unless grouped by DAY"
WEEK: Final = "Monday of the week; null unless grouped by WEEK"
MONTH: Final = "Month of the time zone; null unless grouped by MONTH"
API_KEY: Final = "Id of the customer's API key; null if none was named, or unless grouped by API_KEY."
PROJECT: Final = "Name of the project; null if none was named, or unless grouped by PROJECT."
SHARE: Final = (
    "Part of the cost of all groups, as a fraction with up to six digits, rounded half-even; null if that cost is zero."
)
API_KEYS: Final = f"Only of these API keys of the customer, at most {MAX_NAMES}."
WITHOUT_API_KEY: Final = "If true, what names no API key matches too; without `apiKeyIds`, nothing else matches."
PROJECTS: Final = f"Only of these projects, at most {MAX_NAMES}."
WITHOUT_PROJECT: Final = "If true, what names no project matches too; without `projects`, nothing else matches."


@strawberry.field(
    name="from", description="Start of the window, from the filter; null if the filter does not limit it."
)
def from_time(self: TotalsPage[Any]) -> datetime | None:
    return self.from_time


@strawberry.field(name="to", description="End of the window, exclusive; null if the filter does not limit it.")
def to_time(self: TotalsPage[Any]) -> datetime | None:
    return self.to_time


@strawberry.field(description="Time zone of the days, weeks and months.")
def time_zone(self: TotalsPage[Any]) -> str:
    return self.time_zone


@strawberry.field(
    description="All usage before this time is reported: the earliest of the times that services gave for the account"
    " by `markUsageComplete`; null if there are none.",
    metadata={PREFETCH: hour_totals.prefetch_complete_until},
)
async def complete_until(self: TotalsPage[Any], info: Info[QueryContext, None]) -> datetime | None:
    return await hour_totals.complete_until(info.context, self)


WINDOW: Final = (from_time, to_time, time_zone, complete_until)
