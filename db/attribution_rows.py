"""Rows of attribution tables: named tuples, in the order of their columns. An empty text or price 0 means none."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

HourKey = tuple[int, int, int, str, str, str, str, str, int]
"""Account, hour, span, model, category, origin, API key, project and price."""


class UsageHourRow(NamedTuple):
    """Usage of one hour, or of one UTC day whose hours are unknown. Also used for increments."""

    account_id: int
    hour: int
    span_hours: int
    model: str
    category: str
    origin: str
    api_key: str
    project: str
    price_id: int
    calls: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    units_nanos: int
    cost_nanos: int
    imported_nanos: int = 0
    """Part of the cost that was imported, and so was not charged."""


USAGE_HOUR_KEY: Final = UsageHourRow._fields[:9]
USAGE_HOUR_FIGURES: Final = UsageHourRow._fields[9:]


class CostHourRow(NamedTuple):
    """Cost of one resource in one hour. Also used for increments."""

    account_id: int
    hour: int
    ref_type: str
    ref_id: str
    api_key: str
    project: str
    gross_nanos: int = 0
    refunded_nanos: int = 0


COST_HOUR_KEY: Final = CostHourRow._fields[:6]
COST_HOUR_FIGURES: Final = CostHourRow._fields[6:]


class UsagePriceRow(NamedTuple):
    """A price: nano-dollars per million tokens, per unit and per call."""

    account_id: int
    id: int
    input_nanos: int
    cached_input_nanos: int | None
    output_nanos: int
    reasoning_nanos: int | None
    unit_nanos: int
    call_nanos: int
    valid_from: datetime | None
    valid_until: datetime | None
    source: str


class PricedHourRow(NamedTuple):
    """Usage of an hour with its price; the price is None if the cost was given without one."""

    usage: UsageHourRow
    price: UsagePriceRow | None


class RequestDetailRow(NamedTuple):
    account_id: int
    at: datetime
    digest: bytes
    request_id: str | None
    model: str
    category: str
    origin: str
    api_key: str | None
    project: str | None
    end_user: str | None
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    units_nanos: int
    cost_nanos: int
    price_id: int
    seq: int | None = None
