"""Windows: the UTC days, weeks and months that spend limits count in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SpendWindow(StrEnum):
    DAY = "day"
    WEEK = "week"
    """Begins on Monday."""
    MONTH = "month"
    TOTAL = "total"
    """Never resets."""


def window_start(window: SpendWindow, moment: datetime) -> datetime:
    """Returns the start of the window that the moment is in; 1970 for TOTAL."""
    if window is SpendWindow.TOTAL:
        return _EPOCH
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if window is SpendWindow.DAY:
        return day
    return day - timedelta(days=day.weekday()) if window is SpendWindow.WEEK else day.replace(day=1)


def resets_at(window: SpendWindow, moment: datetime) -> datetime | None:
    """Returns the start of the next window; None for TOTAL."""
    start = window_start(window, moment)
    if window is SpendWindow.TOTAL:
        return None
    if window is SpendWindow.MONTH:
        return (start + timedelta(days=32)).replace(day=1)
    return start + timedelta(days=1 if window is SpendWindow.DAY else 7)
