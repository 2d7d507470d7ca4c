"""Price file: the operator's own prices. It is TOML, a table for each model, named exactly as in requests:

    [models."m-large"]
    input_usd_per_million = 1.25            # tokens; 0 if omitted
    cached_input_usd_per_million = 0.125    # the price of other input tokens if omitted
    output_usd_per_million = 10
    reasoning_usd_per_million = 12          # the price of other output tokens if omitted
    usd_per_unit = 0.04                     # images, seconds and the like; 0 if omitted
    usd_per_call = 0.0004                   # 0 if omitted

    [models."ChatGPT"]
    price_as = "gpt-3.5-turbo"              # another table of this file, or a model that genai-prices knows

A price that changes has a table for each period. A period begins at `from` and ends before `until`, which are dates
(from 00:00 UTC) or date-times with an offset:

    [[models."m-small"]]
    until = 2026-07-01
    input_usd_per_million = 0.5

    [[models."m-small"]]
    from = 2026-07-01
    input_usd_per_million = 0.4

Numbers are read as exact decimals, never as floats.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import pairwise
from typing import Any, BinaryIO, Final

from ledger.errors import BadUserInput
from ledger.moments import check_moment
from ledger.prices import PricePeriod, Prices, Rate, is_listed
from ledger.texts import MODEL

_RATES: Final = {
    "input_usd_per_million": "input",
    "output_usd_per_million": "output",
    "usd_per_call": "call",
    "cached_input_usd_per_million": "cached_input",
    "reasoning_usd_per_million": "reasoning",
    "usd_per_unit": "unit",
}
_KNOWN: Final = {*_RATES, "price_as", "from", "until"}

_FIRST: Final = datetime.min.replace(tzinfo=UTC)

Entry = str | Sequence[PricePeriod]
"""The value of `price_as`, or prices over time."""


def read_prices(file: BinaryIO, *, live: bool = False) -> Prices:
    """Reads a price file. Raises BadUserInput with the name of the invalid key.

    With `live`, for usage that services record, models that are not in the file have no price, and every price in it
    can be stored.
    """
    try:
        document = tomllib.loads(file.read().decode(), parse_float=Decimal)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, ValueError, ArithmeticError, RecursionError) as error:
        msg = f"the price file is not TOML: {error}"
        raise BadUserInput(msg) from error
    models = document.get("models")
    if not isinstance(models, dict) or document.keys() != {"models"}:
        raise BadUserInput('the price file must contain only tables [models."name"]')
    entries = {model: _entry(model, given) for model, given in models.items()}
    if live:
        for model, entry in entries.items():
            _check_storable(model, entry)
    return Prices({model: _resolved(entries, model) for model in entries}, with_list=not live)


def _entry(model: str, given: object) -> Entry:
    what = f'models."{model}"'
    MODEL.checked(model, f"the name of the table models.{model!a}")
    if isinstance(given, dict) and "price_as" in given:
        return _other_model(given, what)
    if not isinstance(given, list) or not given:
        return [_period(given, what)]
    periods = [_period(table, f"{what} (table {number})") for number, table in enumerate(given, start=1)]
    _check_overlaps(periods, what)
    return periods


def _other_model(table: Mapping[str, Any], what: str) -> str:
    _check_keys(table, what)
    if len(table) > 1 or not isinstance(table["price_as"], str):
        msg = f"{what}.price_as must be the name of a model, and cannot be combined with prices"
        raise BadUserInput(msg)
    return table["price_as"]


def _period(table: object, what: str) -> PricePeriod:
    if not isinstance(table, dict) or not table:
        msg = f"{what} must be a table of prices"
        raise BadUserInput(msg)
    _check_keys(table, what)
    if "price_as" in table:
        msg = f'{what}.price_as must be the only key of a table [models."name"]'
        raise BadUserInput(msg)
    if table.keys().isdisjoint(_RATES):
        msg = f"{what} has no price: give one of {', '.join(_RATES)}"
        raise BadUserInput(msg)
    rate = Rate(**{field: _decimal(table[key], f"{what}.{key}") for key, field in _RATES.items() if key in table})
    start, end = (_moment(table[key], f"{what}.{key}") if key in table else None for key in ("from", "until"))
    if start is not None and end is not None and end <= start:
        msg = f"{what}.until must be after from"
        raise BadUserInput(msg)
    return PricePeriod(rate, start, end)


def _check_keys(table: Mapping[str, Any], what: str) -> None:
    unknown = table.keys() - _KNOWN
    if unknown:
        msg = f"{what} has the unknown key {min(unknown)!r}"
        raise BadUserInput(msg)


def _decimal(value: object, what: str) -> Decimal:
    number = Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(number, Decimal) or not number.is_finite() or not 0 <= number <= 10**9:
        msg = f"{what} must be a number of dollars from 0 to 1,000,000,000"
        raise BadUserInput(msg)
    if number.as_tuple().digits and -int(number.as_tuple().exponent) > 18:
        msg = f"{what} must have at most 18 fraction digits"
        raise BadUserInput(msg)
    return number


def _moment(value: object, what: str) -> datetime:
    if not isinstance(value, date):
        msg = f"{what} must be a date or a time such as 2026-07-01 or 2026-07-01T08:00:00Z, without quotes"
        raise BadUserInput(msg)
    moment = value if isinstance(value, datetime) else datetime.combine(value, time(), UTC)
    check_moment(moment, what)
    return moment.astimezone(UTC)


def _check_overlaps(periods: Sequence[PricePeriod], what: str) -> None:
    in_order = sorted(enumerate(periods, start=1), key=lambda one: one[1].valid_from or _FIRST)
    for (number, earlier), (later_number, later) in pairwise(in_order):
        if earlier.valid_until is None or (later.valid_from or _FIRST) < earlier.valid_until:
            msg = f"{what} (table {later_number}).from must not be before table {number} ends: give it an earlier until"
            raise BadUserInput(msg)


def _check_storable(model: str, entry: Entry) -> None:
    if not isinstance(entry, str) and any(period.price(0) is None for period in entry):
        msg = f'models."{model}" has a price of more than nine fraction digits, which cannot be stored with usage'
        raise BadUserInput(msg)


def _resolved(entries: Mapping[str, Entry], model: str) -> Entry:
    """Follows `price_as` to prices in the file, or to the name of a model outside it."""
    passed = {model}
    found = entries[model]
    while isinstance(found, str) and found in entries:
        if found in passed:
            msg = f'models."{model}".price_as refers to itself in a circle'
            raise BadUserInput(msg)
        passed.add(found)
        found = entries[found]
    if isinstance(found, str) and not is_listed(found):
        msg = f'models."{model}".price_as refers to "{found}", which has no price'
        raise BadUserInput(msg)
    return found
