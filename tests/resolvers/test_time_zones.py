"""Offsets and days of time zones, compared with what zoneinfo says of each hour."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest

from ledger.errors import BadUserInput
from resolvers.time_zones import checked_zone, hour_of_day, offsets_between
from tests.hour_rows import hour_of


def _local(name: str, hour: int) -> datetime:
    return datetime.fromtimestamp(hour * 3_600, UTC).astimezone(ZoneInfo(name)).replace(tzinfo=None)


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("America/Los_Angeles", hour_of(2025, 1, 1), hour_of(2027, 1, 1)),
        ("Europe/Berlin", hour_of(1979, 6, 1), hour_of(1981, 6, 1)),
        ("Asia/Tokyo", hour_of(2026, 1, 1), hour_of(2026, 3, 1)),
        ("America/Sao_Paulo", hour_of(2017, 1, 1), hour_of(2020, 1, 1)),
        ("Africa/Casablanca", hour_of(2026, 1, 1), hour_of(2027, 1, 1)),
        ("Pacific/Apia", hour_of(2011, 12, 1), hour_of(2012, 2, 1)),
        ("Pacific/Kiritimati", hour_of(1994, 12, 1), hour_of(1995, 2, 1)),
    ],
)
def test_offsets_are_those_of_every_hour(name: str, start: int, end: int) -> None:
    offsets = offsets_between(name, start, end)
    changes = dict(offsets.changes)
    offset = offsets.first
    for hour in range(start, end):
        offset = changes.get(hour, offset)
        assert datetime(1970, 1, 1) + timedelta(hours=hour + offset) == _local(name, hour)  # noqa: DTZ001


@pytest.mark.parametrize("name", ["America/Los_Angeles", "Asia/Tokyo", "America/Sao_Paulo", "Pacific/Apia"])
def test_days_begin_at_the_first_hour_that_has_their_date(name: str) -> None:
    """In Sao Paulo, clocks went from midnight to one; Apia has no December 30th of 2011."""
    days = [date(2011, 12, 20) + timedelta(days=number) for number in range(30)]
    days += [date(2017, 10, 1) + timedelta(days=number) for number in range(150)]
    for day in days:
        start = hour_of_day(name, day)
        assert _local(name, start).date() >= day
        assert _local(name, start - 1).date() < day


def test_a_day_on_which_clocks_change_has_23_or_25_hours() -> None:
    def hours(day: date) -> int:
        zone = "America/Los_Angeles"
        return hour_of_day(zone, day + timedelta(days=1)) - hour_of_day(zone, day)

    assert [hours(date(2026, 3, 8)), hours(date(2026, 3, 9)), hours(date(2026, 11, 1))] == [23, 24, 25]


@pytest.mark.parametrize(
    ("name", "day", "message"),
    [
        ("Asia/Kolkata", date(2026, 1, 1), "its offset is +05:30 on 2025-12-30"),
        ("America/St_Johns", date(2026, 1, 1), "its offset is -03:30 on 2025-12-30"),
        ("Australia/Lord_Howe", date(2026, 4, 5), "its offset is +10:30 on 2026-04-04"),
        ("America/Goose_Bay", date(2010, 3, 14), "its clocks changed within an hour on 2010-03-14"),
        ("Antarctica/Casey", date(2010, 3, 5), "its clocks went back to the day before on 2010-03-04"),
    ],
)
def test_other_time_zones_are_refused_with_the_reason(name: str, day: date, message: str) -> None:
    with pytest.raises(BadUserInput) as raised:
        hour_of_day(name, day)
    assert str(raised.value) == (
        f'timeZone "{name}" is not supported: {message}. Usage is kept by UTC hour, so offsets must be whole hours'
    )


def test_a_time_zone_is_supported_while_its_offset_is_whole_hours() -> None:
    """Singapore was at +07:30 until 1981."""
    assert hour_of_day("Asia/Singapore", date(2026, 1, 1)) == hour_of(2025, 12, 31, 16)
    with pytest.raises(BadUserInput):
        hour_of_day("Asia/Singapore", date(1981, 1, 1))


@pytest.mark.parametrize("day", [date(1969, 12, 31), date(2200, 1, 1), date.min, date.max])
def test_days_outside_the_supported_years_are_refused(day: date) -> None:
    with pytest.raises(BadUserInput) as raised:
        hour_of_day("Asia/Tokyo", day)
    assert str(raised.value) == f"day must be from 1970 to 2199 in time zones other than UTC, not {day}"


@pytest.mark.parametrize("day", [date.min, date(1970, 1, 1), date.max])
def test_utc_has_every_day(day: date) -> None:
    assert hour_of_day("UTC", day) == (day - date(1970, 1, 1)).days * 24


@pytest.mark.parametrize("name", ["", "nowhere", "europe/berlin", "../etc/passwd", "localtime", "Factory", "\x00", "ж"])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(BadUserInput) as raised:
        checked_zone(name)
    assert "must be a name of the IANA time zone database" in str(raised.value)


def test_most_time_zones_are_supported() -> None:
    refused = set()
    for name in sorted(available_timezones() - {"localtime", "Factory"}):
        try:
            offsets_between(checked_zone(name), hour_of(2026, 1, 1), hour_of(2027, 1, 1))
        except BadUserInput:
            refused.add(name)
    assert refused == {
        *("America/St_Johns", "Asia/Calcutta", "Asia/Colombo", "Asia/Kabul", "Asia/Kathmandu", "Asia/Katmandu"),
        *("Asia/Kolkata", "Asia/Rangoon", "Asia/Tehran", "Asia/Yangon", "Australia/Adelaide"),
        *("Australia/Broken_Hill", "Australia/Darwin", "Australia/Eucla", "Australia/LHI", "Australia/Lord_Howe"),
        *("Australia/North", "Australia/South", "Australia/Yancowinna", "Canada/Newfoundland", "Indian/Cocos", "Iran"),
        *("NZ-CHAT", "Pacific/Chatham", "Pacific/Marquesas"),
    }
