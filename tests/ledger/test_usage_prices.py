from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import BadUserInput
from ledger.usage_prices import PriceSource, Quantities, UsagePrice, price_id

_NANOS = st.integers(0, 10**12)
_COUNTS = st.integers(0, 10**6)

_PRICES = st.builds(
    UsagePrice,
    input_nanos=_NANOS,
    cached_input_nanos=st.none() | _NANOS,
    output_nanos=_NANOS,
    reasoning_nanos=st.none() | _NANOS,
    unit_nanos=_NANOS,
    call_nanos=_NANOS,
)


def _plain_cost(price: UsagePrice, used: Quantities) -> int:
    """Computes the cost as a customer would, in dollars. `round` is half-even."""
    million, nano = 10**6, 10**9
    cached = price.input_nanos if price.cached_input_nanos is None else price.cached_input_nanos
    reasoning = price.output_nanos if price.reasoning_nanos is None else price.reasoning_nanos
    dollars = (
        Fraction((used.input_tokens - used.cached_input_tokens) * price.input_nanos, million * nano)
        + Fraction(used.cached_input_tokens * cached, million * nano)
        + Fraction((used.output_tokens - used.reasoning_tokens) * price.output_nanos, million * nano)
        + Fraction(used.reasoning_tokens * reasoning, million * nano)
        + Fraction(used.units_nanos, nano) * Fraction(price.unit_nanos, nano)
        + Fraction(price.call_nanos, nano)
    )
    return round(dollars * nano)


@given(_PRICES, _COUNTS, _COUNTS, _COUNTS, _COUNTS, _NANOS)
def test_cost_is_quantity_times_price_rounded_once(
    price: UsagePrice, uncached: int, cached: int, plain: int, reasoning: int, units_nanos: int
) -> None:
    used = Quantities(uncached + cached, cached, plain + reasoning, reasoning, units_nanos)
    assert price.cost_nanos(used) == _plain_cost(price, used)


@pytest.mark.parametrize(("tokens", "nanos"), [(1, 0), (3, 2), (5, 2), (7, 4)])
def test_halves_are_rounded_to_even(tokens: int, nanos: int) -> None:
    assert UsagePrice(input_nanos=500_000).cost_nanos(Quantities(input_tokens=tokens)) == nanos


def test_cost_beyond_the_range_is_refused() -> None:
    with pytest.raises(BadUserInput, match=r"^the cost exceeds the range"):
        UsagePrice(input_nanos=2**62).cost_nanos(Quantities(input_tokens=10**7))


def test_hours_differ_from_their_requests_by_half_a_nano_dollar_a_call() -> None:
    price = UsagePrice(input_nanos=333_333)
    used = [Quantities(input_tokens=tokens) for tokens in (1, 2, 5, 7)]
    whole = price.billionths(Quantities(input_tokens=15), calls=4)
    assert abs(10**9 * sum(map(price.cost_nanos, used)) - whole) <= 4 * 10**9 // 2


@given(_PRICES)
def test_price_survives_its_row(price: UsagePrice) -> None:
    row = price.row(7)
    assert (row.account_id, row.id) == (7, price_id(price))
    assert UsagePrice.of_row(row) == price


def test_every_field_makes_another_price() -> None:
    price, time = UsagePrice(1, 2, 3, 4, 5, 6), datetime(2026, 11, 1, tzinfo=UTC)
    others = [
        *(price._replace(input_nanos=9), price._replace(cached_input_nanos=None), price._replace(output_nanos=9)),
        *(price._replace(reasoning_nanos=None), price._replace(unit_nanos=9), price._replace(call_nanos=9)),
        *(price._replace(valid_from=time), price._replace(valid_until=time)),
        price._replace(source=PriceSource.TABLE),
    ]
    ids = {price_id(one) for one in (price, *others)}
    assert len(ids) == 1 + len(others)
    assert min(ids) > 0
