"""Phrases: money, times and resources as English text. The same figures always give the same text."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from ledger.kinds import RefType
from ledger.money import format_nanos

_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_THINGS: Final[dict[str, str]] = {
    RefType.GPU_INSTANCE: "GPU instance",
    RefType.INFERENCE_INSTANCE: "inference instance",
    RefType.VOLUME: "volume",
    RefType.SHARED_FILESYSTEM: "shared filesystem",
    RefType.API_USAGE: "batch",
    RefType.STRIPE_CHECKOUT_SESSION: "Stripe Checkout session",
    RefType.STRIPE_PAYMENT_INTENT: "Stripe payment",
    RefType.STRIPE_REFUND: "Stripe refund",
    RefType.STRIPE_INVOICE: "Stripe invoice",
    RefType.CONTRACT: "enterprise contract",
    RefType.PROMOTION: "promotion",
}

_SECOND: Final = timedelta(seconds=1)
_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_UNITS: Final = ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute"), (_SECOND, "second"))
# From this duration on, days are clearer than hours: a cycle is 24 hours, not one day.
_MANY_HOURS: Final = timedelta(hours=48)
# Two durations share one unit only if the numbers are small: 15 of 60 minutes, not 270 of 1440.
_SMALL: Final = 120


def money(nanos: int, currency: str) -> str:
    """Example: "$1,234.50", "-$0.05", "12.00 EUR". Exact, with as many digits as needed."""
    whole, _, fraction = format_nanos(abs(nanos)).partition(".")
    sign, amount = "-" if nanos < 0 else "", f"{int(whole):,}.{fraction}"
    return f"{sign}${amount}" if currency == "USD" else f"{sign}{amount} {currency}"


def thing(ref_type: str, ref_id: str) -> str:
    """Example: "GPU instance #132", "volume v-1"."""
    number = "#" if ref_id.isascii() and ref_id.isdecimal() else ""
    return f"{_THINGS[ref_type]} {number}{ref_id}"


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def duration(length: timedelta) -> str:
    """Example: "1 hour 23 minutes", "24 hours", "3 days 1 hour". Rounded to the second, with "about" if that is not
    exact."""
    seconds = (length + _SECOND / 2) // _SECOND
    about = "" if seconds * _SECOND == length else "about "
    parts, rest = [], seconds * _SECOND
    for unit, name in _UNITS:
        if unit is _DAY and rest < _MANY_HOURS:
            continue
        count, rest = divmod(rest, unit)
        if count:
            parts.append(_counted(count, name))
    return about + (" ".join(parts) or "0 seconds")


def part_of(part: timedelta, whole: timedelta) -> str:
    """Example: "15 of 60 minutes", "6 of 24 hours", "1 hour 23 minutes of 2 hours". Neither may be zero."""
    for unit, name in _UNITS:
        if unit is _DAY and whole < _MANY_HOURS:
            continue
        if not part % unit and not whole % unit and whole // unit <= _SMALL:
            return f"{part // unit} of {_counted(whole // unit, name)}"
    return f"{duration(part)} of {duration(whole)}"


def day(moment: date) -> str:
    """Example: "23 November 2026"."""
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


def _clock(moment: datetime) -> str:
    """Formats a time of day, cut to the second; without seconds if they are zero."""
    return f"{moment:%H:%M:%S}" if moment.second else f"{moment:%H:%M}"


def period(start: datetime, end: datetime) -> str:
    """Example: "for 23 November 2026 UTC", "from 10:00 to 11:00 UTC on 23 November 2026"."""
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    if start.time() == end.time() == time() and start < end:
        days = (end - start).days
        return f"for {day(start)} UTC" if days == 1 else f"for the {days} days from {day(start)} UTC"
    if start.date() == end.date():
        return f"from {_clock(start)} to {_clock(end)} UTC on {day(start)}"
    return f"from {since(start)} to {since(end)} UTC"


def since(moment: datetime) -> str:
    """Example: "23 November 2026, 10:00". The time is UTC."""
    return f"{day(moment)}, {_clock(moment)}"
