"""Prices of requests: one's own TOML file, genai-prices, rounding."""

from __future__ import annotations

from datetime import UTC, date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from io import BytesIO

import pytest
from genai_prices import Usage, calc_price
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import BadUserInput
from ledger.money import round_nanos
from ledger.price_file import read_prices
from ledger.prices import PricePeriod, Prices, Rate, _ListedModel, _rate_of
from ledger.usage_prices import PriceSource, Quantities, UsagePrice

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
        ('[models]\n"m" = []', 'models."m" must be a table'),
        ('[models]\n"m" = [5]', r'models."m" \(table 1\) must be a table'),
        ('[models."m"]\ninput = 1', "unknown key 'input'"),
        ('[models."m"]\nfrom = 2026-07-01', 'models."m" has no price'),
        ('[models."m"]\nusd_per_call = 1\nfrom = 5', "from must be a date or a time"),
        ('[models."m"]\nusd_per_call = 1\nfrom = 08:00:00', "from must be a date or a time"),
        ('[models."m"]\nusd_per_call = 1\nfrom = "2026-07-01"', "from must be a date or a time.*without quotes"),
        ('[models."m"]\nusd_per_call = 1\nuntil = 2026-07-01T08:00:00', "until must have a time zone"),
        ('[models."m"]\nusd_per_call = 1\nuntil = 9999-12-31', "until must .* 9998"),
        ('[models."m"]\nusd_per_call = 1\nfrom = 2026-07-01\nuntil = 2026-07-01T00:00:00Z', "until must be after from"),
        ('[[models."m"]]\nusd_per_call = 1\n[[models."m"]]\nusd_per_call = -2', r"\(table 2\)\.usd_per_call must"),
        (
            '[[models."m"]]\nusd_per_call = 1\n[[models."m"]]\nprice_as = "gpt-4"',
            r"\(table 2\)\.price_as must be the only",
        ),
        (
            '[[models."m"]]\nusd_per_call = 1\n[[models."m"]]\nusd_per_call = 1\nfrom = 2026-07-01',
            r'models."m" \(table 2\)\.from must not be before table 1 ends',
        ),
        (
            '[[models."m"]]\nusd_per_call = 1\nfrom = 2026-07-01\n[[models."m"]]\nusd_per_call = 1\nuntil = 2026-07-02',
            r'models."m" \(table 1\)\.from must not be before table 2 ends',
        ),
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


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _moment_or_none(text: str | None) -> datetime | None:
    return None if text is None else _moment(text)


_CHANGING = """
[[models."m"]]
from = 2026-07-01
until = 2026-08-01T02:00:00+02:00
input_usd_per_million = 0.4

[[models."m"]]
until = 2026-07-01
input_usd_per_million = 0.5

[[models."m"]]
from = 2026-09-01
input_usd_per_million = 0.3
"""


@pytest.mark.parametrize(
    ("at", "nanos", "valid_from", "valid_until"),
    [
        ("2000-01-01", 500_000_000, None, "2026-07-01"),
        ("2026-06-30T23:59:59.999999", 500_000_000, None, "2026-07-01"),
        ("2026-07-01", 400_000_000, "2026-07-01", "2026-08-01"),
        ("2026-07-31T23:59:59.999999", 400_000_000, "2026-07-01", "2026-08-01"),
        ("2026-09-01", 300_000_000, "2026-09-01", None),
    ],
)
def test_price_in_force_is_that_of_the_time(
    at: str, nanos: int, valid_from: str | None, valid_until: str | None
) -> None:
    assert _read(_CHANGING).price("m", _moment(at), 1) == UsagePrice(
        input_nanos=nanos,
        valid_from=_moment_or_none(valid_from),
        valid_until=_moment_or_none(valid_until),
        source=PriceSource.TABLE,
    )


@pytest.mark.parametrize("at", ["2026-08-01", "2026-08-31T23:59:59.999999"])
def test_model_has_no_price_between_two_periods(at: str) -> None:
    prices = _read(_CHANGING)
    assert prices.price("m", _moment(at), 1) is None
    assert prices.rate("m", _moment(at)) is None


def test_price_of_another_model_changes_with_it() -> None:
    prices = _read(_CHANGING + '[models."n"]\nprice_as = "m"\n')
    for at in ("2026-06-30", "2026-07-01", "2026-08-01", "2026-09-01"):
        assert prices.price("n", _moment(at), 1) == prices.price("m", _moment(at), 1)


def test_all_parts_of_a_price_are_read() -> None:
    prices = _read(
        '[models."m"]\ninput_usd_per_million = 1.25\ncached_input_usd_per_million = 0.125\n'
        "output_usd_per_million = 10\nreasoning_usd_per_million = 12\nusd_per_unit = 0.04\nusd_per_call = 1e-9\n"
    )
    assert prices.price("m", _AT, 0) == UsagePrice(
        input_nanos=1_250_000_000,
        cached_input_nanos=125_000_000,
        output_nanos=10_000_000_000,
        reasoning_nanos=12_000_000_000,
        unit_nanos=40_000_000,
        call_nanos=1,
        source=PriceSource.TABLE,
    )


def test_free_price_of_cached_tokens_differs_from_none() -> None:
    prices = _read('[models."m"]\ninput_usd_per_million = 1\ncached_input_usd_per_million = 0\n')
    assert prices.price("m", _AT, 0) == UsagePrice(10**9, cached_input_nanos=0, source=PriceSource.TABLE)


@pytest.mark.parametrize(
    "key", ["input_usd_per_million", "cached_input_usd_per_million", "usd_per_unit", "usd_per_call"]
)
def test_price_finer_than_nano_dollars_has_a_rate_only(key: str) -> None:
    prices = _read(f'[models."m"]\n{key} = 0.0000000005\n')
    assert prices.price("m", _AT, 0) is None
    rate = prices.rate("m", _AT)
    assert rate is not None
    used = Quantities(input_tokens=2_000_000, cached_input_tokens=1_000_000, units_nanos=10**9)
    # Half a nano-dollar, to even; cached tokens without a price of their own cost the same again.
    assert rate.cost_of(used) == (1 if key == "input_usd_per_million" else 0)


def test_price_of_live_usage_must_be_storable() -> None:
    text = b'[models."m"]\nusd_per_call = 0.0000000005\n'
    with pytest.raises(BadUserInput, match=r'models\."m" has a price of more than nine fraction digits'):
        read_prices(BytesIO(text), live=True)


def test_price_file_of_live_usage_has_no_other_models() -> None:
    prices = read_prices(BytesIO(b'[models."m"]\nusd_per_call = 1\n[models."n"]\nprice_as = "gpt-4"\n'), live=True)
    assert prices.price("m", _AT, 0) == UsagePrice(call_nanos=10**9, source=PriceSource.TABLE)
    assert prices.price("n", _AT, 0) == Prices().price("gpt-4", _AT, 0)
    assert prices.price("gpt-4", _AT, 0) is None


_DOLLARS = st.integers(0, 10**12).map(lambda nanos: Decimal(nanos).scaleb(-9))
_STEPS = st.builds(
    lambda base, one, two: TieredPrices(base, [Tier(200_000, two), Tier(1_000, one)]), _DOLLARS, _DOLLARS, _DOLLARS
)
_RATES = st.builds(
    Rate,
    input=_DOLLARS | _STEPS,
    output=_DOLLARS | _STEPS,
    call=_DOLLARS,
    cached_input=st.none() | _DOLLARS | _STEPS,
    reasoning=st.none() | _DOLLARS | _STEPS,
    unit=_DOLLARS,
)
_COUNTS = st.integers(0, 300_000)


@given(_RATES, _COUNTS, _COUNTS, _COUNTS, _COUNTS, st.integers(0, 10**12))
def test_stored_price_gives_the_cost_of_the_rate(
    rate: Rate, uncached: int, cached: int, plain: int, reasoning: int, units_nanos: int
) -> None:
    used = Quantities(uncached + cached, cached, plain + reasoning, reasoning, units_nanos)
    price = Prices({"m": rate}).price("m", _AT, used.input_tokens)
    assert price is not None
    assert price.cost_nanos(used) == rate.cost_of(used)


@given(
    st.sampled_from(["gpt-4", "gpt-4o", "gemini-2.5-pro", "claude-sonnet-4-5", "deepseek-reasoner", "o3"]),
    _COUNTS,
    _COUNTS,
    _COUNTS,
    st.datetimes(_FIRST, _LAST),
)
def test_listed_prices_of_cached_tokens_are_those_of_genai_prices(
    model: str, uncached: int, cached: int, output_tokens: int, at: datetime
) -> None:
    at = at.replace(tzinfo=UTC)
    usage = Usage(input_tokens=uncached + cached, cache_read_tokens=cached, output_tokens=output_tokens)
    price = Prices().price(model, at, uncached + cached)
    assert price is not None
    assert price.source == PriceSource.LIST
    expected = round_nanos(calc_price(usage, model, genai_request_timestamp=at).total_price)
    assert price.cost_nanos(Quantities(uncached + cached, cached, output_tokens)) == expected


def _listed(*conditions: StartDateConstraint | TimeOfDateConstraint | None) -> _ListedModel:
    prices = [
        ConditionalPrice(constraint, prices=ModelPrice(input_mtok=Decimal(number)))
        for number, constraint in enumerate(conditions, start=1)
    ]
    return _ListedModel(ModelInfo("m", ClauseEquals("m"), prices=prices))


@pytest.mark.parametrize(
    ("at", "dollars", "valid_from", "valid_until"),
    [
        ("2026-01-01", 1, None, "2026-03-13"),
        ("2026-03-12T23:59:59.999999", 1, None, "2026-03-13"),
        ("2026-03-13", 2, "2026-03-13", "2026-05-01"),
        ("2026-05-01", 3, "2026-05-01", None),
    ],
)
def test_listed_price_says_from_when_until_when(
    at: str, dollars: int, valid_from: str | None, valid_until: str | None
) -> None:
    model = _listed(None, StartDateConstraint(date(2026, 3, 13)), StartDateConstraint(date(2026, 5, 1)))
    assert model.period(_moment(at)) == PricePeriod(
        Rate(Decimal(dollars)),
        _moment_or_none(valid_from),
        _moment_or_none(valid_until),
        PriceSource.LIST,
    )


@pytest.mark.parametrize(("hour", "dollars"), [("08:00", 1), ("20:00", 2)])
def test_listed_price_of_a_time_of_day_has_no_period(hour: str, dollars: int) -> None:
    model = _listed(None, TimeOfDateConstraint(time_of_day(16), time_of_day(23)))
    assert model.period(_moment(f"2026-01-01T{hour}")) == PricePeriod(Rate(Decimal(dollars)), source=PriceSource.LIST)


def test_without_the_list_only_own_models_have_a_price() -> None:
    own: dict[str, Rate | str] = {"m": Rate(Decimal(1)), "ChatGPT": "gpt-3.5-turbo"}
    prices = Prices(own, with_list=False)
    assert prices.price("gpt-3.5-turbo", _AT, 1) is None
    assert prices.price("m", _AT, 1) == UsagePrice(10**9, source=PriceSource.TABLE)
    assert prices.price("ChatGPT", _AT, 1) == Prices().price("gpt-3.5-turbo", _AT, 1)
    assert prices.price("ChatGPT", _AT, 1) is not None
