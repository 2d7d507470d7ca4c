"""Totals of random hours, compared with groups made in plain Python from the same hours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from db.attribution_rows import COST_HOUR_KEY, USAGE_HOUR_KEY, CostHourRow, UsageHourRow
from db.database import Database
from db.filters import TotalsFilter
from db.rows import UsageDayRow
from db.usage_writes import FedDay, put_usage_days
from ledger.kinds import CostKind
from resolvers.context import QueryContext
from resolvers.reads import hour_totals, usage
from resolvers.reads.hour_totals import COST_LIST, USAGE_LIST, TotalsList, TotalsPage
from resolvers.reads.totals_filters import CostDimension, UsageDimension, cost_totals_filter, usage_totals_filter
from tests.doses import dose
from tests.hour_rows import hour_of, insert_hours, usage_hour
from tests.resolvers.ledgers import NOW, new_account, principal
from tests.resolvers.test_transaction_pages import EXAMPLES, ordered

ZONES: Final = ("UTC", "America/Los_Angeles", "Asia/Tokyo", "Europe/Berlin", "America/Sao_Paulo")
TIMES: Final = ("hour", "day", "week", "month")
# Around the change of clocks in Los Angeles on November 1st, a Sunday, and in Berlin a week before.
FIRST_HOUR: Final = hour_of(2026, 10, 24, 12)
LAST_HOUR: Final = hour_of(2026, 11, 3)
NANOS: Final = st.integers(0, 5) | st.sampled_from([10**9, 2**63 - 1, 2**62])
NAMES: Final = st.sampled_from(["", "k1", "k2", "ж/Ä"])


def _hours(hour: int, *, whole_day: bool) -> tuple[int, int]:
    return (hour // 24 * 24, 24) if whole_day else (hour, 1)


HOURS: Final = st.builds(_hours, st.integers(FIRST_HOUR, LAST_HOUR), whole_day=st.booleans())


def _usage_row(hours: tuple[int, int], **columns: Any) -> UsageHourRow:
    hour, span = hours
    return usage_hour(0, hour, columns.pop("cost_nanos"), span_hours=span, **columns)


USAGE_ROWS: Final = st.lists(
    st.builds(
        _usage_row,
        HOURS,
        model=st.sampled_from(["a", "B", "b", "ж/Ä"]),
        category=st.sampled_from(["chat", "image"]),
        origin=st.sampled_from(["platform", "user_inference"]),
        api_key=NAMES,
        project=NAMES,
        price_id=st.integers(0, 1),
        calls=st.integers(1, 3),
        input_tokens=NANOS,
        units_nanos=NANOS,
        cost_nanos=NANOS,
    ),
    max_size=16,
    unique_by=lambda row: row[: len(USAGE_HOUR_KEY)],
)
COST_ROWS: Final = st.lists(
    st.builds(
        CostHourRow,
        st.just(0),
        st.integers(FIRST_HOUR, LAST_HOUR),
        ref_type=st.sampled_from(["", "gpu_instance", "volume", "api_usage", "contract"]),
        ref_id=st.sampled_from(["", "1", "Ж-Ä%_"]),
        api_key=NAMES,
        project=NAMES,
        gross_nanos=NANOS,
        refunded_nanos=NANOS,
    ),
    max_size=16,
    unique_by=lambda row: row[: len(COST_HOUR_KEY)],
)
DAYS: Final = st.none() | st.dates(date(2026, 10, 24), date(2026, 11, 4))
RANGES: Final = st.tuples(DAYS, DAYS).map(ordered)


def _dimensions(order: type[Any]) -> st.SearchStrategy[list[Any]]:
    others = [one for one in order if one.value not in TIMES]
    time = st.lists(st.sampled_from([one for one in order if one.value in TIMES]), max_size=1)
    return st.tuples(time, st.lists(st.sampled_from(others), max_size=3, unique=True)).map(
        lambda found: [*found[0], *found[1]]
    )


@dataclass(frozen=True)
class Bucket:
    """The bucket of an hour in a time zone, in plain Python."""

    kind: str | None
    zone: ZoneInfo

    def of_hour(self, hour: int) -> Any:
        moment = datetime.fromtimestamp(hour * 3_600, UTC)
        day = moment.astimezone(self.zone).date()
        match self.kind:
            case "hour":
                return moment
            case "day":
                return day
            case "week":
                return day - timedelta(days=day.weekday())
            case "month":
                return f"{day:%Y-%m}"
        return None

    def of_row(self, hour: int, span: int) -> Any:
        first, last = self.of_hour(hour), self.of_hour(hour + span - 1)
        return first if first == last else None


def _is_within(zone: ZoneInfo, days: tuple[date | None, date | None], hour: int, span: int) -> bool:
    gte, lt = days
    found = [datetime.fromtimestamp(one * 3_600, UTC).astimezone(zone).date() for one in (hour, hour + span - 1)]
    return all((gte is None or day >= gte) and (lt is None or day < lt) for day in found)


def _overlaps(zone: ZoneInfo, days: tuple[date | None, date | None], hour: int, span: int) -> bool:
    return any(_is_within(zone, days, one, 1) for one in range(hour, hour + span))


def _share(cost: int, whole: int) -> int | None:
    if not whole:
        return None
    with_digits = Decimal(cost).scaleb(40) / Decimal(whole)
    return int((with_digits.scaleb(-40)).quantize(Decimal("0.000001"), ROUND_HALF_EVEN).scaleb(9))


Key = tuple[Any, ...]


def _sums(rows: Iterable[Sequence[int]], width: int) -> tuple[int, ...]:
    return tuple(map(sum, zip(*rows, strict=True))) or (0,) * width


def _in_order(groups: dict[Key, tuple[int, ...]], cost: Callable[[tuple[int, ...]], int]) -> list[Any]:
    """Newest bucket first, groups without one last; then by cost; then by names, as UTF-8."""
    ordered_groups = sorted(groups.items(), key=lambda one: [name.encode() for name in one[0][1:]])
    ordered_groups.sort(key=lambda one: cost(one[1]), reverse=True)
    timed = [one for one in ordered_groups if one[0][0] is not None]
    return sorted(timed, key=lambda one: one[0][0], reverse=True) + [one for one in ordered_groups if one[0][0] is None]


async def all_pages(
    context: QueryContext, account_id: int, of: TotalsList[Any], totals_filter: TotalsFilter, size: int
) -> tuple[list[Any], TotalsPage[Any]]:
    page = await of.page(context, account_id, totals_filter, size)
    assert not page.has_previous
    rows = list(page.rows)
    while page.has_next:
        assert len(page.rows) == size
        page = await of.page(context, account_id, totals_filter, size, page.cursor_of(page.rows[-1]))
        assert page.has_previous
        rows += page.rows
    return rows, page


@given(rows=USAGE_ROWS, group_by=_dimensions(UsageDimension), days=RANGES, data=st.data())
@EXAMPLES
async def test_usage_is_grouped_as_in_plain_python(
    ledgers: Database, rows: list[UsageHourRow], group_by: list[UsageDimension], days: Any, data: st.DataObject
) -> None:
    account = await new_account(ledgers)
    await insert_hours(ledgers, [row._replace(account_id=account.id) for row in rows])
    zone = ZoneInfo(data.draw(st.sampled_from(ZONES)))
    api_keys = data.draw(st.none() | st.lists(NAMES.filter(bool), max_size=2))
    without = data.draw(st.sampled_from([None, True]))
    matching = [row for row in rows if _is_within(zone, days, row.hour, row.span_hours)]
    if api_keys is not None or without:
        matching = [row for row in matching if row.api_key in [*(api_keys or []), *([""] if without else [])]]
    bucket = Bucket(next((one.value for one in group_by if one.value in TIMES), None), zone)
    keys = [one.value for one in UsageDimension if one in group_by and one.value not in TIMES]
    groups: dict[Key, list[tuple[int, ...]]] = {}
    for row in matching:
        key = (bucket.of_row(row.hour, row.span_hours), *(getattr(row, name) for name in keys))
        groups.setdefault(key, []).append(row[9:16])
    expected = _in_order({key: _sums(found, 7) for key, found in groups.items()}, lambda sums: sums[-1])
    totals_filter = usage_totals_filter(
        group_by=group_by,
        time_zone=zone.key,
        day_gte=days[0],
        day_lt=days[1],
        api_keys=api_keys,
        without_api_key=without,
    )
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        found, page = await all_pages(context, account.id, USAGE_LIST, totals_filter, data.draw(st.integers(1, 4)))
        undivided = await hour_totals.undivided_days(context, page)
    assert page.totals == _sums((row[9:16] for row in matching), 7)
    assert page.total == len(expected)
    assert [
        ((getattr(row, bucket.kind or "hour"), *(getattr(row, name) or "" for name in keys)), row[9:16])
        for row in found
    ] == expected
    assert [row.share_nanos for row in found] == [_share(row.cost_nanos, page.totals[-1]) for row in found]
    asked = (
        rows
        if api_keys is None and not without
        else [row for row in rows if row.api_key in [*(api_keys or []), *([""] if without else [])]]
    )
    cut = {
        row.hour
        for row in asked
        if _overlaps(zone, days, row.hour, row.span_hours)
        and (
            not _is_within(zone, days, row.hour, row.span_hours)
            or (bucket.kind and bucket.of_row(row.hour, row.span_hours) is None)
        )
    }
    assert undivided == [datetime.fromtimestamp(hour * 3_600, UTC).date() for hour in sorted(cut, reverse=True)]


def _kind(ref_type: str) -> str:
    return ref_type if ref_type in [one.value for one in CostKind] else "other"


@given(rows=COST_ROWS, group_by=_dimensions(CostDimension), days=RANGES, data=st.data())
@EXAMPLES
async def test_cost_is_grouped_as_in_plain_python(
    ledgers: Database, rows: list[CostHourRow], group_by: list[CostDimension], days: Any, data: st.DataObject
) -> None:
    account = await new_account(ledgers)
    await insert_hours(ledgers, [row._replace(account_id=account.id) for row in rows])
    zone = ZoneInfo(data.draw(st.sampled_from(ZONES)))
    kinds = data.draw(st.none() | st.lists(st.sampled_from(CostKind), max_size=3))
    ref_id = data.draw(st.none() | st.just("1"))
    matching = [
        row
        for row in rows
        if _is_within(zone, days, row.hour, 1)
        and (kinds is None or _kind(row.ref_type) in [kind.value for kind in kinds])
        and (ref_id is None or row.ref_id == ref_id)
    ]
    bucket = Bucket(next((one.value for one in group_by if one.value in TIMES), None), zone)
    chosen = [one.value for one in CostDimension if one in group_by and one.value not in TIMES]
    keys = [key for one in chosen for key in (("ref_type", "ref_id") if one == "resource" else (one,))]

    def values(row: CostHourRow) -> Key:
        return tuple(_kind(row.ref_type) if key == "kind" else getattr(row, key) for key in keys)

    groups: dict[Key, list[tuple[int, ...]]] = {}
    for row in matching:
        groups.setdefault((bucket.of_row(row.hour, 1), *values(row)), []).append(row[6:])
    expected = _in_order({key: _sums(found, 2) for key, found in groups.items()}, lambda sums: sums[0] - sums[1])
    totals_filter = cost_totals_filter(
        group_by=group_by, time_zone=zone.key, day_gte=days[0], day_lt=days[1], kinds=kinds, ref_id=ref_id
    )
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        found, page = await all_pages(context, account.id, COST_LIST, totals_filter, data.draw(st.integers(1, 4)))
    assert page.totals == _sums((row[6:] for row in matching), 2)
    assert page.total == len(expected)
    assert [
        ((getattr(row, bucket.kind or "hour"), *(getattr(row, key) or "" for key in keys)), row[9:11]) for row in found
    ] == expected
    assert [row.cost_nanos for row in found] == [row.gross_nanos - row.refunded_nanos for row in found]
    assert [row.share_nanos for row in found] == [_share(row.cost_nanos, page.totals.cost_nanos) for row in found]


@given(rows=USAGE_ROWS, group_by=_dimensions(UsageDimension), data=st.data())
@settings(EXAMPLES, max_examples=dose(6, 40))
async def test_any_grouping_adds_up_to_the_usage_days(
    ledgers: Database, rows: list[UsageHourRow], group_by: list[UsageDimension], data: st.DataObject
) -> None:
    """The days have 64 bits, so their figures are small here."""
    account = await new_account(ledgers)
    rows = [row._replace(account_id=account.id, input_tokens=row.calls * 5, cost_nanos=row.calls * 7) for row in rows]
    days: dict[Key, list[tuple[int, ...]]] = {}
    for row in rows:
        day = datetime.fromtimestamp(row.hour * 3_600, UTC).date()
        figures = (row.calls, row.input_tokens, row.output_tokens, row.cost_nanos)
        days.setdefault((day, row.model, row.category, row.origin), []).append(figures)
    await insert_hours(ledgers, rows)
    day_rows = [UsageDayRow(account.id, *key, *_sums(found, 4)) for key, found in days.items()]
    async with ledgers.write() as connection:
        await put_usage_days(connection, [FedDay(row, "requests") for row in day_rows])
    by_day = usage_totals_filter(
        group_by=[UsageDimension.DAY, UsageDimension.MODEL, UsageDimension.CATEGORY, UsageDimension.ORIGIN]
    )
    any_way = usage_totals_filter(group_by=group_by, time_zone=data.draw(st.sampled_from(ZONES)))
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        found, _ = await all_pages(context, account.id, USAGE_LIST, by_day, 100)
        others, page = await all_pages(context, account.id, USAGE_LIST, any_way, 3)
        sums = await usage.usage_totals(context, await usage.usage_page(context, account.id, usage.usage_filter()))

    def figures_of(row: Any) -> tuple[int, ...]:
        return row.calls, row.input_tokens, row.output_tokens, row.cost_nanos

    assert {(row.day, row.model, row.category, row.origin, *figures_of(row)) for row in found} == {
        row[1:] for row in day_rows
    }
    assert figures_of(page.totals) == sums == _sums(map(figures_of, others), 4)
