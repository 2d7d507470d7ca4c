"""What a resource costs for a time, held against exact fractions."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.volumes import RateRow
from ledger.errors import BadUserInput
from ledger.rates import DAY, HOUR, Stretch, checked_rate, cost_nanos, stretches
from tests.ledger.desk import START

MICROSECOND = timedelta(microseconds=1)


def rate(hours: float, quantity: int, price_nanos: int) -> RateRow:
    return RateRow(1, "volume", "v-1", START + hours * HOUR, quantity, price_nanos)


def test_period_is_split_where_the_rate_changes() -> None:
    rates = [rate(0, 10, 5), rate(6, 20, 5), rate(30, 1, 7)]
    assert stretches(rates, START, START + DAY) == [
        Stretch(START, START + 6 * HOUR, 10, 5),
        Stretch(START + 6 * HOUR, START + DAY, 20, 5),
    ]
    assert stretches(rates, START + DAY, START + 31 * HOUR) == [
        Stretch(START + DAY, START + 30 * HOUR, 20, 5),
        Stretch(START + 30 * HOUR, START + 31 * HOUR, 1, 7),
    ]
    assert stretches(rates, START - HOUR, START) == [Stretch(START - HOUR, START, 10, 5)]


@pytest.mark.parametrize(("price", "nanos"), [(1, 0), (2, 1), (3, 2), (5, 2), (7, 4)])
def test_halves_are_rounded_to_even(price: int, nanos: int) -> None:
    assert cost_nanos([Stretch(START, START + DAY / 2, 1, price)], DAY, "it") == nanos


TIMES = st.timedeltas(timedelta(), timedelta(days=3))


@given(st.lists(st.tuples(TIMES, st.integers(1, 10**6), st.integers(0, 10**10)), min_size=1, max_size=6), TIMES, TIMES)
def test_the_cost_is_the_sum_of_its_parts_rounded_once(
    changes: list[tuple[timedelta, int, int]], one: timedelta, other: timedelta
) -> None:
    rates = sorted(RateRow(1, "volume", "v-1", START + since, *rest) for since, *rest in changes)
    start, end = START + min(one, other), START + max(one, other)
    exact = Fraction(0)
    # What is in force between two borders, whatever `stretches` makes of them.
    borders = sorted({start, end, *(row.since for row in rates if start < row.since < end)})
    for left, right in pairwise(borders):
        in_force = ([row for row in rates if row.since <= left] or rates[:1])[-1]
        exact += Fraction(
            in_force.quantity * in_force.price_nanos * ((right - left) // MICROSECOND), HOUR // MICROSECOND
        )
    parts = stretches(rates, start, end)
    assert sum((part.end - part.start for part in parts), timedelta()) == end - start
    assert cost_nanos(parts, HOUR, "it") == round(exact)


@pytest.mark.parametrize(("quantity", "price"), [(0, 1), (-1, 1), (10**9 + 1, 1), (1, -1), (1, 10_000 * 10**9 + 1)])
def test_rate_out_of_range_is_refused(quantity: int, price: int) -> None:
    with pytest.raises(BadUserInput, match="must be"):
        checked_rate(quantity, price, DAY, "gib", "pricePerGibDay")


@pytest.mark.parametrize(("unit", "units"), [(DAY, 1), (HOUR, 24)])
def test_resource_costs_at_most_a_million_per_day(unit: timedelta, units: int) -> None:
    most = 1_000_000 * 10**9 // units
    checked_rate(1_000, most // 1_000, unit, "gib", "price")
    with pytest.raises(BadUserInput, match="gib times price must be at most"):
        checked_rate(1_000, most // 1_000 + 1, unit, "gib", "price")
