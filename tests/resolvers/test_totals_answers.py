"""Answers of totals by hour: windows, days without hours, cursors, errors, and what they are compared with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import pytest

from db.attribution_rows import CostHourRow, UsageHourRow
from db.database import Database
from ledger.errors import BadCursor, BadUserInput
from ledger.kinds import CostKind, RefType
from resolvers.context import QueryContext
from resolvers.cursors import CursorKind, CursorWriter, filter_digest
from resolvers.reads import hour_totals
from resolvers.reads.closed_times import SETTLING
from resolvers.reads.hour_totals import COST_LIST, USAGE_LIST
from resolvers.reads.totals_filters import UsageDimension, cost_totals_filter, usage_totals_filter
from tests.hour_rows import hour_of, insert_hours, mark_complete, usage_hour
from tests.resolvers.ledgers import NOW, new_account, principal
from tests.resolvers.test_hour_totals import all_pages
from tests.statements import watched

LOS_ANGELES: Final[dict[str, Any]] = {"group_by": [UsageDimension.DAY], "time_zone": "America/Los_Angeles"}


async def _usage(database: Database, rows: Sequence[UsageHourRow]) -> int:
    account = await new_account(database)
    await insert_hours(database, [row._replace(account_id=account.id) for row in rows])
    return account.id


async def _read(database: Database, account_id: int, **given: Any) -> tuple[list[Any], list[date]]:
    async with database.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        page = await USAGE_LIST.page(context, account_id, usage_totals_filter(**given))
        return list(page.rows), await hour_totals.undivided_days(context, page)


async def test_hours_of_a_day_with_a_change_of_clocks(ledgers: Database) -> None:
    """Each hour costs one nano-dollar. November 1st of 2026 had 25 hours in Los Angeles."""
    hours = range(hour_of(2026, 10, 30), hour_of(2026, 11, 4))
    account_id = await _usage(ledgers, [usage_hour(0, hour, 1) for hour in hours])
    rows, undivided = await _read(
        ledgers, account_id, day_gte=date(2026, 10, 31), day_lt=date(2026, 11, 3), **LOS_ANGELES
    )
    assert [(row.day, row.cost_nanos, row.share_nanos) for row in rows] == [
        (date(2026, 11, 2), 24, 328_767_000),
        (date(2026, 11, 1), 25, 342_466_000),
        (date(2026, 10, 31), 24, 328_767_000),
    ]
    assert undivided == []
    one_day = {"day_gte": date(2026, 11, 1), "day_lt": date(2026, 11, 2), "time_zone": "America/Los_Angeles"}
    by_hour, _ = await _read(ledgers, account_id, group_by=[UsageDimension.HOUR], **one_day)
    assert len(by_hour) == 25
    assert [row.hour for row in by_hour[-2:]] == [
        datetime(2026, 11, 1, 8, tzinfo=UTC),
        datetime(2026, 11, 1, 7, tzinfo=UTC),
    ]


async def test_days_without_hours_are_named_where_they_do_not_fit(ledgers: Database) -> None:
    days = [hour_of(2026, 11, number) for number in (1, 2, 15)]
    account_id = await _usage(ledgers, [usage_hour(0, hour, 1, span_hours=24) for hour in days])
    in_utc = await _read(ledgers, account_id, group_by=[UsageDimension.DAY])
    assert [row.day for row in in_utc[0]] == [date(2026, 11, number) for number in (15, 2, 1)]
    assert in_utc[1] == []
    by_hour, undivided = await _read(ledgers, account_id, group_by=[UsageDimension.HOUR])
    assert [(row.hour, row.calls) for row in by_hour] == [(None, 3)]
    assert undivided == [date(2026, 11, number) for number in (15, 2, 1)]
    # Of Los Angeles, November 1st in UTC is a part of October too, and November 2nd of two weeks.
    by_month, undivided = await _read(ledgers, account_id, **LOS_ANGELES | {"group_by": [UsageDimension.MONTH]})
    assert [(row.month, row.calls) for row in by_month] == [("2026-11", 2), (None, 1)]
    assert undivided == [date(2026, 11, 1)]
    by_week, undivided = await _read(ledgers, account_id, **LOS_ANGELES | {"group_by": [UsageDimension.WEEK]})
    assert [(row.week, row.calls) for row in by_week] == [
        (date(2026, 11, 9), 1),
        (date(2026, 10, 26), 1),
        (None, 1),
    ]
    assert undivided == [date(2026, 11, 2)]
    # Without a time, a day is only missing if it lies partly outside the window.
    whole, undivided = await _read(
        ledgers, account_id, time_zone="America/Los_Angeles", day_gte=date(2026, 11, 1), day_lt=date(2026, 11, 15)
    )
    assert [row.calls for row in whole] == [1]
    assert undivided == [date(2026, 11, 15), date(2026, 11, 1)]


async def test_at_most_a_thousand_undivided_days_are_named(ledgers: Database) -> None:
    first = hour_of(2020, 1, 1)
    days = [usage_hour(0, first + 24 * number, 1, span_hours=24) for number in range(1_010)]
    _, undivided = await _read(ledgers, await _usage(ledgers, days), group_by=[UsageDimension.HOUR])
    assert undivided == [date(2020, 1, 1) + timedelta(days=number) for number in range(1_009, 9, -1)]


async def test_a_window_may_be_open_at_either_end_in_any_time_zone(ledgers: Database) -> None:
    """Clocks of many years change within these windows."""
    years = [2019, 2021, 2023, 2026]
    account_id = await _usage(ledgers, [usage_hour(0, hour_of(year, 7, 1, 6), 1) for year in years])
    for given, expected in (
        ({}, years),
        ({"day_gte": date(2020, 1, 1)}, years[1:]),
        ({"day_lt": date(2020, 1, 1)}, years[:1]),
        ({"day_gte": date(1970, 1, 2), "day_lt": date(2199, 12, 31)}, years),
        ({"day_gte": date(2100, 1, 1)}, []),
        ({"day_gte": date(2023, 6, 30), "day_lt": date(2023, 7, 1)}, [2023]),
    ):
        rows, _ = await _read(ledgers, account_id, **LOS_ANGELES, **given)
        assert [row.day for row in rows] == [date(year, 6, 30) for year in reversed(expected)]


async def test_an_account_without_usage_has_no_groups(ledgers: Database) -> None:
    account = await new_account(ledgers)
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        for given in ({}, {"group_by": [UsageDimension.DAY]}, LOS_ANGELES):
            page = await USAGE_LIST.page(context, account.id, usage_totals_filter(**given))
            assert (page.rows, page.total, page.totals) == ((), 0, (0,) * 7)
            assert (page.has_next, page.has_previous) == (False, False)


async def test_a_group_that_moved_is_not_taken_for_one_before_the_cursor(ledgers: Database) -> None:
    """The flags say what is before and after the position, whether its group is still there or not."""
    hour = hour_of(2026, 11, 1)
    account_id = await _usage(ledgers, [usage_hour(0, hour, cost, model=model) for model, cost in (("a", 5), ("b", 3))])
    totals_filter = usage_totals_filter(group_by=[UsageDimension.MODEL])
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        page = await USAGE_LIST.page(context, account_id, totals_filter, 1)
    more = [usage_hour(account_id, hour, cost, model=model, price_id=1) for model, cost in (("a", -3), ("b", 1))]
    await insert_hours(ledgers, more)
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        after = await USAGE_LIST.page(context, account_id, totals_filter, 5, page.cursor_of(page.rows[0]))
    assert [row.model for row in after.rows] == ["b", "a"]
    assert (after.has_next, after.has_previous) == (False, False)


REFUSED: Final[list[tuple[dict[str, Any], str]]] = [
    ({"group_by": list(UsageDimension)[4:]}, "groupBy must name at most 4 dimensions, not 5"),
    ({"group_by": [UsageDimension.MODEL] * 2}, "groupBy must not name a dimension twice"),
    (
        {"group_by": [UsageDimension.DAY, UsageDimension.MONTH]},
        "groupBy must name at most one of HOUR, DAY, WEEK and MONTH",
    ),
    (
        {"time_zone": "Mars/Olympus"},
        'timeZone must be a name of the IANA time zone database, such as "Europe/Berlin", not "Mars/Olympus"',
    ),
    (
        {"day_gte": date(2026, 11, 2), "day_lt": date(2026, 11, 1)},
        "day has an invalid range: lt must not be before gte",
    ),
    ({"models": ["m"] * 101}, "models must name at most 100 models, not 101"),
    ({"models": ["a\x00"]}, "models must not contain NUL characters"),
    ({"api_keys": ["k"] * 101}, "apiKeyIds must have at most 100 values, not 101"),
    ({"api_keys": ["k" * 129]}, "apiKeyIds must have 1 to 128 characters, not 129"),
    ({"projects": [""]}, "projects must have 1 to 128 characters, not 0"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_invalid_arguments_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BadUserInput) as raised:
        usage_totals_filter(**given)
    assert str(raised.value) == message


def test_an_invalid_resource_is_refused() -> None:
    with pytest.raises(BadUserInput, match="refId must have 1 to 200 characters, not 201"):
        cost_totals_filter(ref_type=RefType.VOLUME, ref_id="x" * 201)


async def test_cursors_belong_to_their_list(ledgers: Database) -> None:
    account_id, other = [await _usage(ledgers, [usage_hour(0, hour_of(2026, 11, 1), 1)]) for _ in range(2)]
    given: dict[str, Any] = {"group_by": [UsageDimension.MODEL, UsageDimension.DAY], "models": ["m"]}
    by_model = usage_totals_filter(**given)
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        page = await USAGE_LIST.page(context, account_id, by_model)
        cursor = page.cursor_of(page.rows[0])
        same = usage_totals_filter(**{**given, "group_by": given["group_by"][::-1], "time_zone": "UTC"})
        assert (await USAGE_LIST.page(context, account_id, same, 1, cursor)).rows == ()
        for changed in ({"time_zone": "Asia/Tokyo"}, {"models": ["n"]}, {"group_by": [UsageDimension.DAY]}):
            with pytest.raises(BadCursor, match="of another filter"):
                await USAGE_LIST.page(context, account_id, usage_totals_filter(**given | changed), 1, cursor)
        with pytest.raises(BadCursor, match="of another account"):
            await USAGE_LIST.page(context, other, by_model, 1, cursor)
        with pytest.raises(BadCursor, match="of another list"):
            await COST_LIST.page(context, account_id, cost_totals_filter(), 1, cursor)


FORGED: Final = [
    ("2026", 5, ()),
    ("x", 5, ("m",)),
    ("1", "", ("m",)),
    ("1", 2**94, ("m",)),
    ("1", -(2**94), ("m",)),
    (str(2**31), 5, ("m",)),
    (str(-(2**31)), 5, ("m",)),
    ("1", 5, ("m", "n")),
]


@pytest.mark.parametrize("position", FORGED)
async def test_forged_positions_are_refused(ledgers: Database, position: Any) -> None:
    account = await new_account(ledgers)
    by_model = usage_totals_filter(group_by=[UsageDimension.MODEL])
    writer = CursorWriter(CursorKind.USAGE_GROUPS, account.id, filter_digest(by_model))
    (cursor,) = writer.of_groups([position])
    async with ledgers.snapshot() as snapshot:
        with pytest.raises(BadCursor, match="after is not a cursor of this API"):
            await USAGE_LIST.page(QueryContext(snapshot, principal(), NOW), account.id, by_model, 1, cursor)


async def test_the_longest_names_fit_into_a_cursor(ledgers: Database) -> None:
    hour = hour_of(2026, 11, 1)
    names = {"model": "\U0001f600" * 200, "api_key": "\U0001f600" * 128, "project": "\U0001f600" * 128}
    account_id = await _usage(ledgers, [usage_hour(0, hour, 2**63 - 1, **names), usage_hour(0, hour, 1)])
    group_by = [UsageDimension.DAY, UsageDimension.MODEL, UsageDimension.API_KEY, UsageDimension.PROJECT]
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        rows, _ = await all_pages(context, account_id, USAGE_LIST, usage_totals_filter(group_by=group_by), 1)
    assert [(row.model, row.api_key, row.project) for row in rows] == [tuple(names.values()), ("m", None, None)]


async def test_usage_is_compared_with_what_was_charged(ledgers: Database) -> None:
    """Usage of one window may be charged in the next, and the reverse."""
    first, second = hour_of(2026, 11, 1, 23), hour_of(2026, 11, 2)
    account_id = await _usage(
        ledgers, [usage_hour(0, first, 30, api_key="k"), usage_hour(0, second, 12, imported_nanos=5)]
    )
    charges = [
        CostHourRow(account_id, second, "api_usage", "", "k", "", 30, 0),
        CostHourRow(account_id, second, "api_usage", "", "", "", 10, 0),
        CostHourRow(account_id, second, "volume", "v", "k", "", 1_000, 0),
    ]
    await insert_hours(ledgers, charges)
    found = []
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        for given in (
            {},
            {"day_lt": date(2026, 11, 2)},
            {"day_gte": date(2026, 11, 2)},
            {"day_gte": date(2026, 11, 2), "time_zone": "Asia/Tokyo"},
            {"api_keys": ["k"], "kinds": [CostKind.VOLUME], "ref_id": "v"},
            {"api_keys": [], "without_api_key": True},
        ):
            page = await COST_LIST.page(context, account_id, cost_totals_filter(**given))
            found.append(await hour_totals.usage_difference(context, page))
    assert found == [(42, 5, 40), (30, 0, 0), (12, 5, 40), (42, 5, 40), (30, 0, 30), (12, 5, 10)]
    assert [one.difference_nanos for one in found] == [2, 30, -28, 2, 0, 2]
    assert [one.shifted_nanos for one in found] == [-3, 30, -33, -3, 0, -3]


async def test_a_window_is_open_until_all_services_have_reported(ledgers: Database) -> None:
    account_id = await _usage(ledgers, [])
    days: list[dict[str, Any]] = [
        {},
        {"day_lt": date(2026, 11, 11)},
        {"day_lt": date(2026, 11, 10)},
        {"day_lt": date(2026, 11, 9)},
    ]

    async def told() -> list[bool]:
        async with ledgers.snapshot() as snapshot:
            context = QueryContext(snapshot, principal(), NOW)
            pages = [await USAGE_LIST.page(context, account_id, usage_totals_filter(**one)) for one in days]
            return [await hour_totals.usage_is_open(context, page) for page in pages]

    assert await told() == [True] * 4
    async with ledgers.write() as connection:
        await mark_complete(connection, account_id, "a", datetime(2026, 11, 12, tzinfo=UTC))
        await mark_complete(connection, account_id, "b", datetime(2026, 11, 10, tzinfo=UTC))
    assert await told() == [True, True, False, False]
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        page = await USAGE_LIST.page(context, account_id, usage_totals_filter())
        assert await hour_totals.complete_until(context, page) == datetime(2026, 11, 10, tzinfo=UTC)


async def test_a_window_of_cost_is_open_until_it_ends(ledgers: Database) -> None:
    account = await new_account(ledgers)
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        pages = [
            await COST_LIST.page(context, account.id, cost_totals_filter(day_lt=day))
            for day in (None, NOW.date() + timedelta(days=1), NOW.date())
        ]
        assert [await hour_totals.cost_is_open(context, page) for page in pages] == [True, True, False]
        # Another gateway, whose clock is behind, may still write a row of the day.
        context.now = datetime.combine(NOW.date() + timedelta(days=1), time(), UTC)
        assert await hour_totals.cost_is_open(context, pages[1])
        context.now += SETTLING
        assert not await hour_totals.cost_is_open(context, pages[1])


async def test_a_page_with_its_window_is_one_statement(ledgers: Database) -> None:
    """In time zones other than UTC, the account's hours are read first if the window is not short."""
    accounts = [await _usage(ledgers, [usage_hour(0, hour_of(2026, 11, 1), cost)]) for cost in range(3)]
    counts = []
    for given in (
        {"group_by": [UsageDimension.HOUR]},
        LOS_ANGELES | {"day_gte": date(2026, 1, 1), "day_lt": date(2026, 12, 31)},
        LOS_ANGELES,
    ):
        totals_filter = usage_totals_filter(**given)
        async with ledgers.snapshot() as snapshot:
            context = QueryContext(snapshot, principal(), NOW)

            async def read(account_id: int) -> int:
                key = USAGE_LIST.prefetch(context, account_id, totals_filter)  # noqa: B023
                if key is not None:
                    hour_totals.prefetch_complete_until(context, key)  # noqa: B023
                    hour_totals.prefetch_undivided_days(context, key)  # noqa: B023
                page = await USAGE_LIST.page(context, account_id, totals_filter)  # noqa: B023
                window = hour_totals.complete_until(context, page), hour_totals.undivided_days(context, page)  # noqa: B023
                assert list(await asyncio.gather(*window)) == [None, []]
                return int(page.totals.cost_nanos)

            with watched(ledgers) as sent:
                assert await asyncio.gather(*map(read, accounts)) == [0, 1, 2]
        counts.append(len(sent))
    assert counts == [1, 1, 3]
