"""Rates: the cost of a resource over time. Each stretch of time has a quantity and a price; the sum is rounded once.

A volume has GiB, priced by the day; an inference instance has GPUs, priced by the hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from db.volumes import RateRow
from ledger.errors import BadUserInput
from ledger.kinds import RefType
from ledger.money import NANOS, format_nanos, in_range

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
UNITS: Final = {RefType.VOLUME: DAY, RefType.SHARED_FILESYSTEM: DAY, RefType.INFERENCE_INSTANCE: HOUR}
"""The unit of time that a price is for."""

MAX_QUANTITY: Final = 1_000_000_000
MAX_PRICE_NANOS: Final = 10_000 * NANOS
MAX_DAY_NANOS: Final = 1_000_000 * NANOS
"""Maximum cost of a resource per day. It keeps the longest hold well within the range of an amount."""

_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A period with one rate."""

    start: datetime
    end: datetime
    quantity: int
    price_nanos: int


def checked_rate(quantity: int, price_nanos: int, unit: timedelta, quantity_name: str, price_name: str) -> None:
    """Raises BadUserInput for a rate that is out of range or too expensive to be billed."""
    if not 1 <= quantity <= MAX_QUANTITY:
        msg = f"{quantity_name} must be 1 to {MAX_QUANTITY:,}, not {quantity:,}"
        raise BadUserInput(msg)
    if not 0 <= price_nanos <= MAX_PRICE_NANOS:
        msg = f"{price_name} must be 0.00 to {format_nanos(MAX_PRICE_NANOS)}, not {format_nanos(price_nanos)}"
        raise BadUserInput(msg)
    day_nanos = quantity * price_nanos * (DAY // unit)
    if day_nanos > MAX_DAY_NANOS:
        msg = (
            f"{quantity_name} times {price_name} must be at most {format_nanos(MAX_DAY_NANOS)} a day,"
            f" not {format_nanos(day_nanos)}"
        )
        raise BadUserInput(msg)


def stretches(rates: Sequence[RateRow], start: datetime, end: datetime) -> list[Stretch]:
    """Returns the rates in force from the start to before the end.

    `rates` are in order of time. The first rate also applies to the time before it, so that no time is without a rate.
    """
    ends = [later.since for _, later in pairwise(rates)] + [end]
    found = []
    for number, (rate, until) in enumerate(zip(rates, ends, strict=True)):
        since = start if number == 0 else max(start, rate.since)
        until = min(until, end)
        if since < until:
            found.append(Stretch(since, until, rate.quantity, rate.price_nanos))
    return found


def cost_nanos(parts: Sequence[Stretch], unit: timedelta, what: str) -> int:
    """Returns the cost, rounded half-even once. Raises BadUserInput beyond ±$9.2 billion."""
    exact = sum(one.quantity * one.price_nanos * ((one.end - one.start) // _MICROSECOND) for one in parts)
    whole, rest = divmod(exact, per := unit // _MICROSECOND)
    if 2 * rest > per or (2 * rest == per and whole % 2):
        whole += 1
    return in_range(whole, what)
