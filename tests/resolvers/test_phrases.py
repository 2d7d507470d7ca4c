from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.kinds import RefType
from resolvers.reads import phrases
from tests.resolvers import figures

SECOND = timedelta(seconds=1)
SHORT = st.timedeltas(timedelta(), timedelta(days=5))
LONG = st.timedeltas(timedelta(), timedelta(days=9_999))
WHOLE = st.builds(
    lambda count, unit: count * unit,
    st.integers(0, 130),
    st.sampled_from([SECOND, timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)]),
)
LENGTHS = WHOLE | SHORT | LONG
MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
MIDNIGHTS = MOMENTS.map(lambda moment: moment.replace(hour=0, minute=0, second=0, microsecond=0))


@given(st.integers(-(2**63), 2**63))
def test_money_is_exact(nanos: int) -> None:
    text = phrases.money(nanos, "USD")
    assert re.fullmatch(figures.MONEY, text)
    assert figures.nanos(text) == nanos
    assert phrases.money(nanos, "EUR") == text.replace("$", "") + " EUR"


@given(LENGTHS)
def test_duration_is_rounded_to_the_second(length: timedelta) -> None:
    text = phrases.duration(length)
    assert re.fullmatch(figures.DURATION, text)
    assert figures.says(text, length)
    assert ("day" in text) == (round(length / SECOND) >= 48 * 3_600 or length >= timedelta(hours=48))


@given(LENGTHS.filter(bool), LENGTHS.filter(bool))
def test_part_of_a_duration_is_shown_with_the_whole(one: timedelta, other: timedelta) -> None:
    part, whole = sorted((one, other))
    text = phrases.part_of(part, whole)
    assert re.fullmatch(figures.PART, text)
    assert figures.says_part(text, part, whole)


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (15 * 60, 3_600, "15 of 60 minutes"),
        (6 * 3_600, 24 * 3_600, "6 of 24 hours"),
        (16_200, 24 * 3_600, "4 hours 30 minutes of 24 hours"),
        (86_400, 7 * 86_400, "1 of 7 days"),
        (3_600, 7 * 86_400, "1 hour of 7 days"),
        (1, 60, "1 of 60 seconds"),
        (0.4, 1, "about 0 seconds of 1 second"),
        (1, 1, "1 of 1 second"),
    ],
)
def test_part_of_shares_a_unit_only_for_small_numbers(part: float, whole: float, text: str) -> None:
    assert phrases.part_of(timedelta(seconds=part), timedelta(seconds=whole)) == text


def _told_period(text: str) -> tuple[datetime, datetime]:
    if match := re.fullmatch(r"for (.+) UTC", text):
        days = re.fullmatch(r"the (\d+) days from (.+)", match[1])
        first = figures.day(days[2] if days else match[1])
        return first, first + timedelta(days=int(days[1]) if days else 1)
    if match := re.fullmatch(r"from (\S+) to (\S+) UTC on (.+)", text):
        return figures.moment(f"{match[3]}, {match[1]}"), figures.moment(f"{match[3]}, {match[2]}")
    match = re.fullmatch(r"from (.+) to (.+) UTC", text)
    assert match, text
    return figures.moment(match[1]), figures.moment(match[2])


@given(st.tuples(MOMENTS, MOMENTS) | st.tuples(MIDNIGHTS, MIDNIGHTS))
def test_period_is_shown_to_the_second(ends: tuple[datetime, datetime]) -> None:
    start, end = sorted(ends)
    assert _told_period(phrases.period(start, end)) == (start.replace(microsecond=0), end.replace(microsecond=0))


def test_numeric_ids_get_a_number_sign() -> None:
    assert phrases.thing(RefType.GPU_INSTANCE, "132") == "GPU instance #132"
    assert phrases.thing(RefType.VOLUME, "v-1") == "volume v-1"
    assert phrases.thing(RefType.VOLUME, "١٢") == "volume ١٢"
    for ref_type in RefType:
        assert phrases.thing(ref_type, "x").endswith(" x")
