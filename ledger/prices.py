"""Prices: the price of a request at its own time, from the operator's price file or from genai-prices.

A model in the file (ledger/price_file.py) takes precedence over one in genai-prices. genai-prices gives the price at
the request's own time, so off-peak hours and price changes apply. If prices have steps, the request's input tokens
determine the step. No network is used: the price table is the installed one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import Final

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, StartDateConstraint, TieredPrices, TimeOfDateConstraint

from ledger.money import round_nanos
from ledger.usage_prices import PriceSource, Quantities, UsagePrice

_EXACT: Final = Context(prec=80, rounding=ROUND_HALF_EVEN)

Tokens = Decimal | TieredPrices


@dataclass(frozen=True, slots=True)
class Rate:
    """Prices in dollars per million tokens, per call and per unit."""

    input: Tokens = Decimal(0)
    output: Tokens = Decimal(0)
    call: Decimal = Decimal(0)
    cached_input: Tokens | None = None
    """If None, cached tokens cost what the other input tokens cost."""
    reasoning: Tokens | None = None
    """If None, reasoning tokens cost what the other output tokens cost."""
    unit: Decimal = Decimal(0)

    def cost_nanos(self, input_tokens: int, output_tokens: int) -> int:
        """Returns the cost, rounded half-even once. Raises BadUserInput beyond ±$9.2 billion."""
        return self.cost_of(Quantities(input_tokens=input_tokens, output_tokens=output_tokens))

    def cost_of(self, used: Quantities) -> int:
        """Returns the cost, rounded half-even once. Raises BadUserInput beyond ±$9.2 billion."""
        of_input, of_cached, of_output, of_reasoning = self.token_prices(used.input_tokens)
        of_millions = (
            (of_input, used.input_tokens - used.cached_input_tokens),
            (of_input if of_cached is None else of_cached, used.cached_input_tokens),
            (of_output, used.output_tokens - used.reasoning_tokens),
            (of_output if of_reasoning is None else of_reasoning, used.reasoning_tokens),
        )
        total = _EXACT.multiply(self.unit, Decimal(used.units_nanos).scaleb(-9, _EXACT))
        for price, tokens in of_millions:
            total = _EXACT.add(total, _EXACT.multiply(price, tokens).scaleb(-6, _EXACT))
        return round_nanos(_EXACT.add(total, self.call))

    def token_prices(self, input_tokens: int) -> tuple[Decimal, Decimal | None, Decimal, Decimal | None]:
        """Returns the prices of input, cached input, output and reasoning tokens for a request of so many input
        tokens."""
        return (
            _step(self.input, input_tokens),
            None if self.cached_input is None else _step(self.cached_input, input_tokens),
            _step(self.output, input_tokens),
            None if self.reasoning is None else _step(self.reasoning, input_tokens),
        )


def _step(price: Tokens, input_tokens: int) -> Decimal:
    """Returns the price of the step. A request beyond a threshold pays that step's price for all of its tokens."""
    if isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if input_tokens > tier.start]
    return reached[-1] if reached else price.base


@dataclass(frozen=True, slots=True)
class PricePeriod:
    """A rate, and the time in which it is in force."""

    rate: Rate
    valid_from: datetime | None = None
    """The first moment; None if the rate has always been in force."""
    valid_until: datetime | None = None
    """The moment after the last; None if no end is known."""
    source: PriceSource = PriceSource.TABLE

    def includes(self, at: datetime) -> bool:
        is_after_start = self.valid_from is None or self.valid_from <= at
        return is_after_start and (self.valid_until is None or at < self.valid_until)

    def price(self, input_tokens: int) -> UsagePrice | None:
        """Returns the price of a request of so many input tokens; None if nano-dollars cannot state it."""
        rate = self.rate
        return _usage_price(
            *rate.token_prices(input_tokens), rate.unit, rate.call, self.valid_from, self.valid_until, self.source
        )


@lru_cache(maxsize=4_096)
def _usage_price(
    of_input: Decimal,
    of_cached: Decimal | None,
    of_output: Decimal,
    of_reasoning: Decimal | None,
    of_unit: Decimal,
    of_call: Decimal,
    valid_from: datetime | None,
    valid_until: datetime | None,
    source: PriceSource,
) -> UsagePrice | None:
    dollars = (of_input, of_cached, of_output, of_reasoning, of_unit, of_call)
    if not all(one is None or _is_nanos(one) for one in dollars):
        return None
    return UsagePrice(
        input_nanos=_nanos(of_input),
        cached_input_nanos=None if of_cached is None else _nanos(of_cached),
        output_nanos=_nanos(of_output),
        reasoning_nanos=None if of_reasoning is None else _nanos(of_reasoning),
        unit_nanos=_nanos(of_unit),
        call_nanos=_nanos(of_call),
        valid_from=valid_from,
        valid_until=valid_until,
        source=source,
    )


def _is_nanos(dollars: Decimal) -> bool:
    scaled = dollars.scaleb(9, _EXACT)
    return scaled == scaled.to_integral_value(context=_EXACT)


def _nanos(dollars: Decimal) -> int:
    return int(dollars.scaleb(9, _EXACT))


def _rate_of(price: ModelPrice) -> Rate | None:
    """Returns None if the model is not priced by tokens or calls, such as seconds of audio or images by size."""
    by_call = price.requests_kcount
    if price.input_mtok is None and price.output_mtok is None and by_call is None:
        return None
    return Rate(
        input=price.input_mtok or Decimal(0),
        output=price.output_mtok or Decimal(0),
        call=by_call.scaleb(-3, _EXACT) if isinstance(by_call, Decimal) else Decimal(0),
        cached_input=price.cache_read_mtok,
        reasoning=price.output_reasoning_mtok,
    )


def _starts(info: ModelInfo) -> list[datetime]:
    """Returns the times at which a price of the model begins. Prices by the time of day have none."""
    given = info.prices if isinstance(info.prices, list) else []
    constraints = [one.constraint for one in given]
    if any(isinstance(one, TimeOfDateConstraint) for one in constraints):
        return []
    dates = {one.start_date for one in constraints if isinstance(one, StartDateConstraint)}
    return [datetime.combine(day, time(), UTC) for day in sorted(dates)]


class _ListedModel:
    """A model of genai-prices."""

    def __init__(self, info: ModelInfo) -> None:
        self._info = info
        self._starts = _starts(info)
        self._rates: dict[int, Rate | None] = {}

    def period(self, at: datetime) -> PricePeriod | None:
        rate = self._rate(at)
        if rate is None:
            return None
        later = bisect_right(self._starts, at)
        valid_from = self._starts[later - 1] if later else None
        valid_until = self._starts[later] if later < len(self._starts) else None
        return PricePeriod(rate, valid_from, valid_until, PriceSource.LIST)

    def _rate(self, at: datetime) -> Rate | None:
        if not self._info.prices:
            return None
        price = self._info.get_prices(at)
        if id(price) not in self._rates:
            self._rates[id(price)] = _rate_of(price)
        return self._rates[id(price)]


def _listed_model(name: str) -> _ListedModel | None:
    try:
        return _ListedModel(get_snapshot().find_provider_model(name, None, None, None)[1])
    except LookupError:
        return None


def is_listed(name: str) -> bool:
    """Whether genai-prices knows the model."""
    return _listed_model(name) is not None


class Prices:
    def __init__(
        self, own: Mapping[str, Rate | str | Sequence[PricePeriod]] | None = None, *, with_list: bool = True
    ) -> None:
        """`own` has the rate of a model, its rates over time, or the name of a model of genai-prices. With
        `with_list=False`, only models in `own` have a price."""
        given = own or {}
        self._own = {
            model: (PricePeriod(one),) if isinstance(one, Rate) else tuple(one)
            for model, one in given.items()
            if not isinstance(one, str)
        }
        self._names = {model: name for model, name in given.items() if isinstance(name, str)}
        self._with_list = with_list
        self._models: dict[str, _ListedModel | None] = {}

    def price(self, model: str, at: datetime, input_tokens: int) -> UsagePrice | None:
        """Returns the price that a request of that time pays, with its step resolved.

        Returns None if the model has no price, or one of more than nine fraction digits, which nano-dollars cannot
        state. `rate` has such a price, too.
        """
        period = self._period(model, at)
        return None if period is None else period.price(input_tokens)

    def rate(self, model: str, at: datetime) -> Rate | None:
        """Returns None if the model has no price at that time."""
        period = self._period(model, at)
        return None if period is None else period.rate

    def _period(self, model: str, at: datetime) -> PricePeriod | None:
        own = self._own.get(model)
        if own is not None:
            return next((period for period in own if period.includes(at)), None)
        name = self._names.get(model, model if self._with_list else None)
        listed = None if name is None else self._listed(name)
        return None if listed is None else listed.period(at)

    def _listed(self, name: str) -> _ListedModel | None:
        if name not in self._models:
            self._models[name] = _listed_model(name)
        return self._models[name]
