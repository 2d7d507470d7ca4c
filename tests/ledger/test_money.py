"""Money as text and as nano-dollars: exact both ways, and refused where it would not be."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import BadUserInput
from ledger.money import MAX_NANOS, MIN_NANOS, format_nanos, in_range, parse_nanos, round_nanos

AMOUNTS = st.integers(MIN_NANOS, MAX_NANOS)


@given(AMOUNTS)
def test_amounts_round_trip_through_text(nanos: int) -> None:
    serialized = format_nanos(nanos)
    assert parse_nanos(serialized) == nanos
    assert Decimal(serialized) == Decimal(nanos).scaleb(-9)
    whole, fraction = serialized.lstrip("-").split(".")
    assert 2 <= len(fraction) <= 9
    assert len(fraction) == 2 or not fraction.endswith("0")
    assert whole == str(int(whole))


@pytest.mark.parametrize(
    ("nanos", "serialized"),
    [
        (0, "0.00"),
        (135, "0.000000135"),
        (-1, "-0.000000001"),
        (-1_250_000_000, "-1.25"),
        (1_200_000_000, "1.20"),
        (100_000_000_000, "100.00"),
        (1_001_000_000, "1.001"),
        (10_000_000, "0.01"),
        (MAX_NANOS, "9223372036.854775807"),
        (MIN_NANOS, "-9223372036.854775807"),
    ],
)
def test_amounts_are_formatted_exactly(nanos: int, serialized: str) -> None:
    assert format_nanos(nanos) == serialized
    assert parse_nanos(serialized) == nanos


@given(
    st.sampled_from(["", "-", "+"]),
    st.from_regex(r"[0-9]{1,9}", fullmatch=True),
    st.none() | st.from_regex(r"[0-9]{1,9}", fullmatch=True),
)
def test_every_exact_decimal_is_parsed(sign: str, whole: str, fraction: str | None) -> None:
    text = f"{sign}{whole}" + ("" if fraction is None else f".{fraction}")
    assert parse_nanos(text) == Decimal(text).scaleb(9)


@pytest.mark.parametrize(("dollars", "nanos"), [(0, 0), (12, 12_000_000_000), (-9_223_372_036, -9_223_372_036 * 10**9)])
def test_integers_are_whole_dollars(dollars: int, nanos: int) -> None:
    assert parse_nanos(dollars) == nanos


@pytest.mark.parametrize(
    "value",
    [
        1.5, float("nan"), True, None, Decimal("1.5"), b"1.50", ["1"],
        "", "+", "-", ".", "1.", ".5", "1e3", "1E-7", "0x1", "1_000", "1,000", "1,5", "NaN", "nan", "Infinity", "-inf",
        "0.0000000001", "1.0000000000", "12345678901", "9223372036.854775808", "-9223372036.854775808",
        9_223_372_037, -9_223_372_037, pytest.param(10**5000, id="a huge integer"),
        " 1", "1 ", "1\n", "\t1", "1 .5", "- 1", "--1", "+-1", "−1", "$1", "1 USD",
        "١٢", "１２", "1.५", "²", pytest.param("1" * 100_000, id="a long text"), "1\x00", "\ud800",
    ],
)  # fmt: skip
def test_inexact_amounts_are_refused(value: object) -> None:
    with pytest.raises(BadUserInput, match=r"^the bid ") as refusal:
        parse_nanos(value, "the bid")
    assert len(str(refusal.value)) < 200


@given(st.text(max_size=12))
def test_any_text_is_parsed_exactly_or_refused(text: str) -> None:
    try:
        nanos = parse_nanos(text)
    except BadUserInput:
        return
    assert text.isascii()
    assert Decimal(text).scaleb(9) == nanos


@given(st.integers())
def test_range_includes_both_ends(nanos: int) -> None:
    if abs(nanos) < 2**63:
        assert in_range(nanos, "the sum") == nanos
    else:
        with pytest.raises(BadUserInput, match=r"the sum exceeds the range of ±9223372036\.854775807"):
            in_range(nanos, "the sum")


@pytest.mark.parametrize("nanos", [MAX_NANOS, MIN_NANOS])
def test_amounts_beyond_either_end_are_out_of_range(nanos: int) -> None:
    assert in_range(nanos, "the sum") == nanos
    with pytest.raises(BadUserInput):
        in_range(nanos + (1 if nanos > 0 else -1), "the sum")


@pytest.mark.parametrize(
    ("dollars", "nanos"),
    [
        ("0.0000000005", 0),
        ("0.0000000015", 2),
        ("0.0000000025", 2),
        ("-0.0000000005", 0),
        ("-0.0000000015", -2),
        ("0.00000000050000000000000000000000000000000000000000000001", 1),
        ("0.0000000014999999999999999999999999999999999999999999999", 1),
        ("9223372036.8547758074", MAX_NANOS),
    ],
)
def test_computed_amounts_are_rounded_half_to_even(dollars: str, nanos: int) -> None:
    assert round_nanos(Decimal(dollars)) == nanos


@given(st.integers(-(10**37), 10**37), st.integers(9, 30))
def test_rounding_ignores_the_decimal_context(digits: int, fraction_digits: int) -> None:
    exact = Fraction(digits, 10**fraction_digits) * 10**9
    with localcontext(prec=5, rounding="ROUND_UP"):
        # round() of a fraction is half-even, and exact.
        if abs(expected := round(exact)) <= MAX_NANOS:
            assert round_nanos(Decimal((digits < 0, tuple(map(int, str(abs(digits)))), -fraction_digits))) == expected


@pytest.mark.parametrize("dollars", ["9223372036.8547758075", "-1e10", "1e40"])
def test_computed_amounts_out_of_range_are_refused(dollars: str) -> None:
    with pytest.raises(BadUserInput, match="a computed amount exceeds the range"):
        round_nanos(Decimal(dollars))


def test_rounding_matches_decimal_half_even() -> None:
    half = Decimal("2.5")
    assert half.to_integral_value(ROUND_HALF_EVEN) == round(Fraction(half)) == 2
