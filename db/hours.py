"""Hours: numbers of hours since 1970 in UTC, as the attribution tables have them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final

HOURS_A_DAY: Final = 24

_START: Final = datetime(1970, 1, 1, tzinfo=UTC)


def hour_of(moment: datetime) -> int:
    return int(moment.timestamp()) // 3_600


def time_of_hour(hour: int) -> datetime:
    """Returns the start of the hour. Raises OverflowError for a time that Python does not know."""
    return _START + timedelta(hours=hour)


def first_hour(day: date) -> int:
    """Returns the first hour of a UTC day."""
    return (day - _START.date()).days * HOURS_A_DAY


def day_of_hour(hour: int) -> date:
    """Returns the UTC day."""
    return _START.date() + timedelta(days=hour // HOURS_A_DAY)
