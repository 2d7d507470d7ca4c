"""Prices of requests: one's own TOML file, genai-prices, rounding."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO

import pytest
from genai_prices import Usage, calc_price
from genai_prices.types import ModelPrice
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import BadUserInput
from ledger.money import round_nanos
from ledger.prices import Prices, Rate, _rate_of, read_prices

_AT = datetime(2026, 11, 9, 12, tzinfo=UTC)
_FIRST, _LAST = datetime(2023, 1, 1), datetime(2026, 11, 22)  # noqa: DTZ001 - Hypothesis draws between naive ones


def _read(text: str) -> Prices:
    return read_prices(BytesIO(text.encode()))


def _cost(prices: Prices, model: str, input_tokens: int, output_tokens: int, at: datetime = _AT) -> int:
    rate = prices.rate(model, at)
    assert rate is not None
    return rate.cost_nanos(input_tokens, output_tokens)


def test_own_prices_are_exact_decimals() -> None:
    prices = _read(
        '[models."m-large"]\ninput_usd_per_million = 0.1\noutput_usd_per_million = 10\n'
        '[models."m-image"]\nusd_per_call = 0.0004\n'
    )
    assert _cost(prices, "m-large", 3, 0) == 300
    assert _cost(prices, "m-large", 1_000_000, 1_000_000) == 10_100_000_000
    assert _cost(prices, "m-image", 500, 500) == 400_000
    assert prices.rate("M-LARGE", _AT) is None


@pytest.mark.parametrize(("tokens", "nanos"), [(1, 0), (2, 1), (3, 2), (5, 2), (7, 4)])
def test_a_cost_is_rounded_once_and_half_even(tokens: int, nanos: int) -> None:
    assert Rate(input=Decimal("0.0005")).cost_nanos(tokens, 0) == nanos
    # Two halves make a whole: the parts are not rounded by themselves.
    assert Rate(Decimal("0.0005"), Decimal("0.0005")).cost_nanos(1, 1) == 1


def test_model_can_use_the_price_of_another_model() -> None:
    prices = _read(
        '[models."ChatGPT"]\nprice_as = "gpt-3.5-turbo"\n[models."a"]\nprice_as = "b"\n[models."b"]\nusd_per_call = 1\n'
    )
    assert _cost(prices, "ChatGPT", 1000, 10) == _cost(prices, "gpt-3.5-turbo", 1000, 10) > 0
    assert _cost(prices, "a", 0, 0) == 1_000_000_000


def test_price_file_takes_precedence_over_genai_prices() -> None:
    assert _cost(_read('[models."gpt-4"]\nusd_per_call = 2\n'), "gpt-4", 9, 9) == 2_000_000_000


def test_unknown_model_has_no_price() -> None:
    prices = Prices()
    assert [prices.rate(model, _AT) for model in ("nonsense-x", "ChatGPT", "")] == [None, None, None]


@given(
    st.sampled_from(["gpt-4", "gpt-4o", "gemini-2.5-pro", "claude-sonnet-4-5", "deepseek-reasoner"]),
    st.integers(0, 2_000_000),
    st.integers(0, 2_000_000),
    st.datetimes(_FIRST, _LAST),
)
def test_known_models_have_the_price_of_genai_prices(
    model: str, input_tokens: int, output_tokens: int, at: datetime
) -> None:
    at = at.replace(tzinfo=UTC)
    usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    expected = round_nanos(calc_price(usage, model, genai_request_timestamp=at).total_price)
    assert _cost(Prices(), model, input_tokens, output_tokens, at) == expected


def test_a_cost_beyond_the_range_is_refused() -> None:
    with pytest.raises(BadUserInput, match="exceeds the range"):
        Rate(input=Decimal(10)).cost_nanos(2**63 - 1, 0)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("\xff", "not TOML"),
        ("models = 5", "must contain only tables"),
        ("[prices]", "must contain only tables"),
        ('[models."m"]\n[other]', "must contain only tables"),
        ('[models]\n"m" = 5', 'models."m" must be a table'),
        ('[models."m"]', 'models."m" must be a table'),
        ('[models."m"]\ninput = 1', "unknown key 'input'"),
        ('[models."m"]\nusd_per_call = -1', "usd_per_call must be a number of dollars"),
        ('[models."m"]\nusd_per_call = nan', "usd_per_call must be a number of dollars"),
        ('[models."m"]\nusd_per_call = inf', "usd_per_call must be a number of dollars"),
        ('[models."m"]\nusd_per_call = true', "usd_per_call must be a number of dollars"),
        ('[models."m"]\nusd_per_call = "1"', "usd_per_call must be a number of dollars"),
        ('[models."m"]\nusd_per_call = 1e-19', "at most 18 fraction digits"),
        ('[models."m"]\nprice_as = "gpt-4"\nusd_per_call = 1', "cannot be combined"),
        ('[models."m"]\nprice_as = 4', "name of a model"),
        ('[models."m"]\nprice_as = "nonsense-x"', "has no price"),
        ('[models."a"]\nprice_as = "b"\n[models."b"]\nprice_as = "a"', "circle"),
    ],
)
def test_invalid_price_file_error_names_the_key(text: str, named: str) -> None:
    with pytest.raises(BadUserInput, match=named):
        read_prices(BytesIO(text.encode("latin-1")))


def test_model_without_token_or_call_price_has_no_price() -> None:
    assert _rate_of(ModelPrice()) is None
