"""Totals of usage and cost by hour: pages of groups, the window that they cover, and what is still open in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from fractions import Fraction
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeVar

from db.filters import TotalsFilter
from db.hour_buckets import BUCKETS, DAY, HOUR, IN_UTC, MONTH, Offsets
from db.hour_totals import (
    COST,
    IMPORTED,
    USAGE,
    CostHourFigures,
    Group,
    Grouping,
    GroupPage,
    GroupPosition,
    GroupsFound,
    HourFilter,
    Measure,
    UsageHourFigures,
)
from db.hours import time_of_hour
from ledger.kinds import CostKind
from resolvers.context import QueryContext
from resolvers.cursors import CursorKind, CursorWriter, decoded_in, filter_digest, group_position
from resolvers.pages import Page, window_of
from resolvers.reads import usage_marks
from resolvers.reads.closed_times import is_closed
from resolvers.reads.totals_filters import CostDimension
from resolvers.time_zones import DEFAULT_ZONE, hour_of_day, offsets_between

_MAX_HOURS: Final = 400 * 24
"""Length of a window up to which its clock changes are found without reading the account's first and last hour."""
_MILLION: Final = 10**6
_NANOS_A_MILLIONTH: Final = 1_000

Row = TypeVar("Row")

TotalsKey = tuple[int, GroupPage]
"""Identifies the list that fields of the whole list are for."""


class Bucket(NamedTuple):
    """The bucket of time of a group. Only the asked kind of bucket has a value."""

    hour: datetime | None = None
    day: date | None = None
    week: date | None = None
    month: str | None = None


_NO_BUCKET: Final = Bucket()


class UsageGroupRow(NamedTuple):
    hour: datetime | None
    day: date | None
    week: date | None
    month: str | None
    model: str | None
    category: str | None
    origin: str | None
    api_key: str | None
    project: str | None
    calls: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    units_nanos: int
    cost_nanos: int
    share_nanos: int | None
    position: GroupPosition


class CostGroupRow(NamedTuple):
    hour: datetime | None
    day: date | None
    week: date | None
    month: str | None
    kind: str | None
    ref_type: str | None
    ref_id: str | None
    api_key: str | None
    project: str | None
    gross_nanos: int
    refunded_nanos: int
    cost_nanos: int
    share_nanos: int | None
    position: GroupPosition


class UsageDifference(NamedTuple):
    """Cost of usage by the time of the calls, and of what was charged for usage by the time of the rows."""

    usage_nanos: int
    imported_nanos: int
    charged_nanos: int

    @property
    def difference_nanos(self) -> int:
        return self.usage_nanos - self.charged_nanos

    @property
    def shifted_nanos(self) -> int:
        return self.difference_nanos - self.imported_nanos


@dataclass(frozen=True, slots=True)
class TotalsPage(Page[Row]):
    """A page of groups, with the request that it answers and the sums over all groups."""

    request: GroupPage
    total: int
    totals: UsageHourFigures | CostHourFigures
    time_zone: str

    @property
    def from_time(self) -> datetime | None:
        hour = self.request.row_filter.from_hour
        return None if hour is None else time_of_hour(hour)

    @property
    def to_time(self) -> datetime | None:
        hour = self.request.row_filter.to_hour
        return None if hour is None else time_of_hour(hour)


_COLUMNS: Final = {
    "models": "model",
    "categories": "category",
    "origins": "origin",
    "kinds": "kind",
    "api_keys": "api_key",
    "projects": "project",
}
_KEYS: Final = {CostDimension.RESOURCE.value: ("ref_type", "ref_id")}
"""Columns of dimensions that are not one column of the same name."""


def _lists(totals_filter: TotalsFilter) -> tuple[tuple[str, tuple[str, ...]], ...]:
    lists = [(column, getattr(totals_filter, name)) for name, column in _COLUMNS.items()]
    resource = [("ref_type", totals_filter.ref_type), ("ref_id", totals_filter.ref_id)]
    lists += [(column, (value,)) for column, value in resource if value is not None]
    return tuple((column, values) for column, values in lists if values is not None)


def _hour_filter(totals_filter: TotalsFilter) -> HourFilter:
    zone = totals_filter.time_zone or DEFAULT_ZONE
    from_hour, to_hour = (
        None if day is None else hour_of_day(zone, day) for day in (totals_filter.day_gte, totals_filter.day_lt)
    )
    return HourFilter(from_hour, to_hour, _lists(totals_filter))


def _grouping(totals_filter: TotalsFilter, offsets: Offsets) -> Grouping:
    dimensions = totals_filter.group_by or ()
    bucket = next((one for one in dimensions if one in BUCKETS), None)
    keys = [key for one in dimensions if one not in BUCKETS for key in _KEYS.get(one, (one,))]
    return Grouping(bucket, tuple(keys), offsets)


def _known_offsets(zone: str | None, row_filter: HourFilter) -> Offsets | None:
    """Returns the offsets of a window in UTC, or of a short one; None if the account's hours must be read first."""
    from_hour, to_hour = row_filter.from_hour, row_filter.to_hour
    if zone is None:
        return IN_UTC
    if from_hour is None or to_hour is None or to_hour - from_hour > _MAX_HOURS:
        return None
    return offsets_between(zone, from_hour, to_hour)


async def _offsets(
    context: QueryContext, account_id: int, measure: Measure, zone: str | None, row_filter: HourFilter
) -> Offsets:
    known = _known_offsets(zone, row_filter)
    if known is not None or zone is None:
        return known or IN_UTC
    found = await context.loaders.hour_range.load((account_id, measure))
    if found is None:
        return IN_UTC
    start = found[0] if row_filter.from_hour is None else max(found[0], row_filter.from_hour)
    end = found[1] if row_filter.to_hour is None else min(found[1], row_filter.to_hour)
    return offsets_between(zone, start, end) if start < end else IN_UTC


class TotalsList(Generic[Row]):
    """Reads the groups of one measure, newest first, then in descending order of cost, then in the order of names."""

    def __init__(self, measure: Measure, kind: CursorKind, row: Callable[[GroupPage, Group, int], Row]) -> None:
        """`row` makes the row of a group from the cost of the whole filter."""
        self._measure = measure
        self._kind = kind
        self._row = row

    def _request(
        self,
        account_id: int,
        totals_filter: TotalsFilter,
        row_filter: HourFilter,
        offsets: Offsets,
        first: int | None,
        after: str | None,
    ) -> GroupPage:
        grouping = _grouping(totals_filter, offsets)
        decode = partial(group_position, keys=len(grouping.keys))
        position = decoded_in(after, "after", self._kind, account_id, filter_digest(totals_filter), decode)
        limit = window_of(first, None, position, None).limit
        return GroupPage(self._measure, row_filter, grouping, limit, position)

    def prefetch(
        self,
        context: QueryContext,
        account_id: int,
        totals_filter: TotalsFilter,
        first: int | None = None,
        after: str | None = None,
    ) -> TotalsKey | None:
        """Prefetches the page. Returns the key for the fields of the whole list; None if hours must be read before."""
        row_filter = _hour_filter(totals_filter)
        offsets = _known_offsets(totals_filter.time_zone, row_filter)
        if offsets is None:
            return None
        request = self._request(account_id, totals_filter, row_filter, offsets, first, after)
        context.loaders.hour_groups.load((account_id, request))
        return account_id, request

    async def page(
        self,
        context: QueryContext,
        account_id: int,
        totals_filter: TotalsFilter,
        first: int | None = None,
        after: str | None = None,
    ) -> TotalsPage[Row]:
        """Returns a page. Raises BadUserInput and BadCursor."""
        row_filter = _hour_filter(totals_filter)
        offsets = await _offsets(context, account_id, self._measure, totals_filter.time_zone, row_filter)
        request = self._request(account_id, totals_filter, row_filter, offsets, first, after)
        found = await context.loaders.hour_groups.load((account_id, request))
        return self._page(account_id, totals_filter, request, found)

    def _page(
        self, account_id: int, totals_filter: TotalsFilter, request: GroupPage, found: GroupsFound
    ) -> TotalsPage[Row]:
        whole = found.totals.cost_nanos
        rows = [self._row(request, group, whole) for group in found.groups[: request.limit - 1]]
        writer = CursorWriter(self._kind, account_id, filter_digest(totals_filter))
        return TotalsPage(
            account_id,
            totals_filter,
            tuple(rows),
            has_next=len(found.groups) == request.limit,
            has_previous=found.newer > 0,
            cursors_of=lambda rows: writer.of_groups(row.position for row in rows),  # type: ignore[attr-defined]
            request=request,
            total=found.total,
            totals=found.totals,
            time_zone=totals_filter.time_zone or DEFAULT_ZONE,
        )


def _share(cost_nanos: int, whole_nanos: int) -> int | None:
    """Returns the part of the whole in billionths, rounded half-even to millionths; None if the whole is zero."""
    return round(Fraction(cost_nanos * _MILLION, whole_nanos)) * _NANOS_A_MILLIONTH if whole_nanos else None


def _bucket(kind: str | None, bucket: int | None) -> Bucket:
    if bucket is None:
        return _NO_BUCKET
    if kind == HOUR:
        return Bucket(hour=time_of_hour(bucket))
    day = date.fromordinal(bucket)
    if kind == MONTH:
        return Bucket(month=f"{day:%Y-%m}")
    return Bucket(day=day) if kind == DAY else Bucket(week=day)


def _named_keys(request: GroupPage, group: Group) -> dict[str, str | None]:
    return {name: key or None for name, key in zip(request.grouping.keys, group.keys, strict=True)}


def _usage_row(request: GroupPage, group: Group, whole_nanos: int) -> UsageGroupRow:
    keys = _named_keys(request, group)
    return UsageGroupRow._make(
        (
            *_bucket(request.grouping.bucket, group.bucket),
            *(keys.get(name) for name in ("model", "category", "origin", "api_key", "project")),
            *group.figures,
            _share(group.figures.cost_nanos, whole_nanos),
            group.position,
        )
    )


def _cost_row(request: GroupPage, group: Group, whole_nanos: int) -> CostGroupRow:
    keys = _named_keys(request, group)
    return CostGroupRow._make(
        (
            *_bucket(request.grouping.bucket, group.bucket),
            *(keys.get(name) for name in ("kind", "ref_type", "ref_id", "api_key", "project")),
            *group.figures,
            group.figures.cost_nanos,
            _share(group.figures.cost_nanos, whole_nanos),
            group.position,
        )
    )


USAGE_LIST: Final = TotalsList(USAGE, CursorKind.USAGE_GROUPS, _usage_row)
COST_LIST: Final = TotalsList(COST, CursorKind.COST_GROUPS, _cost_row)


async def group_count(_context: QueryContext, page: Page[Any]) -> int:
    assert isinstance(page, TotalsPage)
    return page.total


def prefetch_complete_until(context: QueryContext, key: TotalsKey) -> None:
    usage_marks.prefetch_complete_until(context, key[0])


async def complete_until(context: QueryContext, page: TotalsPage[Any]) -> datetime | None:
    return await usage_marks.complete_until(context, page.account_id)


async def usage_is_open(context: QueryContext, page: TotalsPage[Any]) -> bool:
    """Returns whether usage of the window may still be reported."""
    complete, end = await complete_until(context, page), page.to_time
    return complete is None or end is None or end > complete


def prefetch_cost_is_open(context: QueryContext, key: TotalsKey) -> None:
    context.loaders.account.load(key[0])


async def cost_is_open(context: QueryContext, page: TotalsPage[Any]) -> bool:
    """Returns whether rows may still be written in the window."""
    account = await context.loaders.account.load(page.account_id)
    assert account is not None, "the totals are of an account that exists"
    return page.to_time is None or not is_closed(account, page.to_time, context.now)


def _undivided_key(key: TotalsKey) -> tuple[int, tuple[HourFilter, Grouping]]:
    account_id, request = key
    return account_id, (request.row_filter, replace(request.grouping, keys=()))


def prefetch_undivided_days(context: QueryContext, key: TotalsKey) -> None:
    context.loaders.undivided_days.load(_undivided_key(key))


async def undivided_days(context: QueryContext, page: TotalsPage[Any]) -> list[date]:
    return await context.loaders.undivided_days.load(_undivided_key((page.account_id, page.request)))


def _difference_keys(key: TotalsKey) -> tuple[tuple[int, GroupPage], tuple[int, GroupPage]]:
    """Returns the keys of the usage and of its charges, in the same window, of the same API keys and projects."""
    account_id, request = key
    row_filter = request.row_filter
    lists = tuple((name, values) for name, values in row_filter.lists if name in ("api_key", "project"))
    whole = Grouping(offsets=request.grouping.offsets)
    charges = replace(row_filter, lists=(*lists, ("kind", (CostKind.API_USAGE.value,))))
    usage = GroupPage(IMPORTED, replace(row_filter, lists=lists), whole, limit=1)
    return (account_id, usage), (account_id, GroupPage(COST, charges, whole, limit=1))


def prefetch_usage_difference(context: QueryContext, key: TotalsKey) -> None:
    for one in _difference_keys(key):
        context.loaders.hour_groups.load(one)


async def usage_difference(context: QueryContext, page: TotalsPage[Any]) -> UsageDifference:
    usage, charges = (
        context.loaders.hour_groups.load(key) for key in _difference_keys((page.account_id, page.request))
    )
    cost_nanos, imported_nanos = (await usage).totals
    return UsageDifference(cost_nanos, imported_nanos, (await charges).totals.cost_nanos)
