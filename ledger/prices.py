"""Prices: the cost of a request whose log has no cost, from the operator's price file or from genai-prices.

The price file is TOML, a table for each model, named exactly as in the log:

    [models."m-large"]
    input_usd_per_million = 1.25        # tokens; 0 if omitted
    output_usd_per_million = 10
    usd_per_call = 0.0004               # for images and the like; 0 if omitted

    [models."ChatGPT"]
    price_as = "gpt-3.5-turbo"          # another table of this file, or a model that genai-prices knows

Numbers are read as exact decimals, never as floats. A model in the file takes precedence over one in genai-prices.
genai-prices gives the price at the request's own time, so off-peak hours and price changes apply. If prices have steps,
the request's input tokens determine the step. No network is used: the price table is the installed one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import BinaryIO, Final

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

from ledger.errors import BadUserInput
from ledger.money import round_nanos
from ledger.texts import MODEL

_EXACT: Final = Context(prec=80, rounding=ROUND_HALF_EVEN)
_RATES: Final = ("input_usd_per_million", "output_usd_per_million", "usd_per_call")

Tokens = Decimal | TieredPrices


@dataclass(frozen=True, slots=True)
class Rate:
    """Prices in dollars per million tokens, and per call."""

    input: Tokens = Decimal(0)
    output: Tokens = Decimal(0)
    call: Decimal = Decimal(0)

    def cost_nanos(self, input_tokens: int, output_tokens: int) -> int:
        """Returns the cost, rounded half-even once. Raises BadUserInput beyond ±$9.2 billion."""
        of_input = _EXACT.multiply(_step(self.input, input_tokens), input_tokens)
        of_output = _EXACT.multiply(_step(self.output, input_tokens), output_tokens)
        return round_nanos(_EXACT.add(_EXACT.add(of_input, of_output).scaleb(-6, _EXACT), self.call))


def _step(price: Tokens, input_tokens: int) -> Decimal:
    """Returns the price of the step. A request beyond a threshold pays that step's price for all of its tokens."""
    if isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if input_tokens > tier.start]
    return reached[-1] if reached else price.base


def _rate_of(price: ModelPrice) -> Rate | None:
    """Returns None if the model is not priced by tokens or calls, such as seconds of audio or images by size."""
    by_call = price.requests_kcount
    if price.input_mtok is None and price.output_mtok is None and by_call is None:
        return None
    call = by_call.scaleb(-3, _EXACT) if isinstance(by_call, Decimal) else Decimal(0)
    return Rate(price.input_mtok or Decimal(0), price.output_mtok or Decimal(0), call)


def _known_model(name: str) -> ModelInfo | None:
    try:
        return get_snapshot().find_provider_model(name, None, None, None)[1]
    except LookupError:
        return None


class Prices:
    def __init__(self, own: Mapping[str, Rate | str] | None = None) -> None:
        self._own = dict(own or {})
        self._models: dict[str, ModelInfo | None] = {}
        self._rates: dict[int, Rate | None] = {}

    def rate(self, model: str, at: datetime) -> Rate | None:
        """Returns None if the model has no price."""
        own = self._own.get(model)
        if isinstance(own, Rate):
            return own
        name = own or model
        if name not in self._models:
            self._models[name] = _known_model(name)
        info = self._models[name]
        if info is None or (isinstance(info.prices, list) and not info.prices):
            return None
        price = info.get_prices(at)
        if id(price) not in self._rates:
            self._rates[id(price)] = _rate_of(price)
        return self._rates[id(price)]


def _decimal(value: object, what: str) -> Decimal:
    number = Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(number, Decimal) or not number.is_finite() or not 0 <= number <= 10**9:
        msg = f"{what} must be a number of dollars from 0 to 1,000,000,000"
        raise BadUserInput(msg)
    if number.as_tuple().digits and -int(number.as_tuple().exponent) > 18:
        msg = f"{what} must have at most 18 fraction digits"
        raise BadUserInput(msg)
    return number


def _entry(model: str, table: object) -> Rate | str:
    what = f'models."{model}"'
    MODEL.checked(model, f"the name of the table models.{model!a}")
    if not isinstance(table, dict) or not table:
        msg = f"{what} must be a table of prices"
        raise BadUserInput(msg)
    unknown = table.keys() - {*_RATES, "price_as"}
    if unknown:
        msg = f"{what} has the unknown key {min(unknown)!r}"
        raise BadUserInput(msg)
    if "price_as" not in table:
        return Rate(*(_decimal(table.get(key, 0), f"{what}.{key}") for key in _RATES))
    if len(table) > 1 or not isinstance(table["price_as"], str):
        msg = f"{what}.price_as must be the name of a model, and cannot be combined with prices"
        raise BadUserInput(msg)
    return table["price_as"]


def _resolved(entries: Mapping[str, Rate | str], model: str) -> Rate | str:
    """Follows `price_as` to a rate in the file, or to the name of a model outside it."""
    passed = {model}
    found = entries[model]
    while isinstance(found, str) and found in entries:
        if found in passed:
            msg = f'models."{model}".price_as refers to itself in a circle'
            raise BadUserInput(msg)
        passed.add(found)
        found = entries[found]
    if isinstance(found, str) and _known_model(found) is None:
        msg = f'models."{model}".price_as refers to "{found}", which has no price'
        raise BadUserInput(msg)
    return found


def read_prices(file: BinaryIO) -> Prices:
    """Reads a price file. Raises BadUserInput with the name of the invalid key."""
    try:
        document = tomllib.loads(file.read().decode(), parse_float=Decimal)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, ValueError, ArithmeticError, RecursionError) as error:
        msg = f"the price file is not TOML: {error}"
        raise BadUserInput(msg) from error
    models = document.get("models")
    if not isinstance(models, dict) or document.keys() != {"models"}:
        raise BadUserInput('the price file must contain only tables [models."name"]')
    entries = {model: _entry(model, table) for model, table in models.items()}
    return Prices({model: _resolved(entries, model) for model in entries})
