"""Columns of the price of usage, which single requests and hours share."""

from __future__ import annotations

from typing import Final

from db.attribution_rows import UsagePriceRow
from gateway.rest.columns import AMOUNT, TIME, Column, nullable
from gateway.rest.exports import Cells
from ledger.chain import format_time
from ledger.money import format_nanos
from ledger.usage_prices import PriceSource

_PRICE: Final = nullable(AMOUNT)

PRICE_COLUMNS: Final = (
    Column("price_input_per_million", "Price of a million input tokens; null if the cost had no price.", _PRICE),
    Column(
        "price_cached_input_per_million",
        "Price of a million cached input tokens; null if they cost the same as the other input tokens.",
        _PRICE,
    ),
    Column("price_output_per_million", "Price of a million output tokens.", _PRICE),
    Column(
        "price_reasoning_per_million",
        "Price of a million reasoning tokens; null if they cost the same as the other output tokens.",
        _PRICE,
    ),
    Column("price_per_unit", "Price of a unit: image, second of audio and the like.", _PRICE),
    Column("price_per_call", "Price of a request.", _PRICE),
    Column("price_from", "From when on the price is in force; null if it was not said.", nullable(TIME)),
    Column("price_until", "Until when the price is in force (exclusive); null if it was not said.", nullable(TIME)),
    Column(
        "price_source",
        "Where the price comes from: the request, the operator's price table, or a list of public prices.",
        nullable({"type": "string", "enum": [source.value for source in PriceSource]}),
    ),
)


def price_cells(price: UsagePriceRow | None) -> Cells:
    """In the order of PRICE_COLUMNS."""
    if price is None:
        return [None] * len(PRICE_COLUMNS)
    amounts = (
        *(price.input_nanos, price.cached_input_nanos, price.output_nanos, price.reasoning_nanos),
        *(price.unit_nanos, price.call_nanos),
    )
    times = (price.valid_from, price.valid_until)
    return [
        *(None if nanos is None else format_nanos(nanos) for nanos in amounts),
        *(None if time is None else format_time(time) for time in times),
        price.source,
    ]
