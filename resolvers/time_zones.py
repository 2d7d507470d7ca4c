"""Time zones: the offsets of a time zone from UTC, and where its days begin.

Hours are counted in UTC from 1970. Only time zones whose days begin at the beginning of such an hour can be used, so
offsets must be whole hours, and clocks must change between two hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from db.hour_buckets import FIRST_DAY, Offsets
from db.hours import HOURS_A_DAY, time_of_hour
from ledger.errors import BadUserInput

DEFAULT_ZONE: Final = "UTC"
FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2199
"""Days before and after these years cannot be asked for in time zones other than UTC."""

_HOUR: Final = 3_600
_DAY: Final = 86_400
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MACHINE: Final = frozenset({"localtime", "Factory"})
"""Names that mean another time zone on each machine, or none."""


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    return frozenset(available_timezones()) - _MACHINE


def checked_zone(name: str) -> str:
    """Returns the name. Raises BadUserInput for a time zone that does not exist."""
    if name not in _names():
        msg = f'timeZone must be a name of the IANA time zone database, such as "Europe/Berlin", not "{name[:40]}"'
        raise BadUserInput(msg)
    return name


def _unsupported(zone: str, reason: str) -> BadUserInput:
    return BadUserInput(
        f'timeZone "{zone}" is not supported: {reason}. Usage is kept by UTC hour, so offsets must be whole hours'
    )


def _offset_at(zone: ZoneInfo, second: int) -> int:
    """Returns the offset in seconds at a number of seconds since 1970."""
    offset = (_EPOCH + timedelta(seconds=second)).astimezone(zone).utcoffset()
    assert offset is not None
    return offset // timedelta(seconds=1)


def _change_between(zone: ZoneInfo, before: int, after: int) -> int:
    """Returns the second at which the offset changes."""
    old = _offset_at(zone, before)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (middle, after) if _offset_at(zone, middle) == old else (before, middle)
    return after


@lru_cache(maxsize=4_096)
def _changes_in(name: str, year: int) -> tuple[tuple[int, int], ...]:
    """Returns the changes within a UTC year, as seconds since 1970 and the offset in seconds after it.

    The clocks of no place change twice a day.
    """
    zone = ZoneInfo(name)
    start, end = (int((datetime(one, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds()) for one in (year, year + 1))
    offsets = [(second, _offset_at(zone, second)) for second in range(start, end + 1, _DAY)]
    return tuple(
        (_change_between(zone, before, after), new) for (before, old), (after, new) in pairwise(offsets) if old != new
    )


def _whole_hours(name: str, offset: int, second: int) -> int:
    if offset % _HOUR:
        day = (_EPOCH + timedelta(seconds=second)).date()
        sign, minutes = "-" if offset < 0 else "+", abs(offset) // 60
        raise _unsupported(name, f"its offset is {sign}{minutes // 60:02d}:{minutes % 60:02d} on {day}")
    return offset // _HOUR


def _changes_between(name: str, first_hour: int, end_hour: int) -> Iterator[tuple[int, int]]:
    """Yields the changes after the first hour and before the end."""
    for year in range(time_of_hour(first_hour).year, time_of_hour(end_hour).year + 1):
        yield from (change for change in _changes_in(name, year) if first_hour * _HOUR < change[0] < end_hour * _HOUR)


@lru_cache(maxsize=1_024)
def offsets_between(name: str, first_hour: int, end_hour: int) -> Offsets:
    """Returns the offsets from UTC of all hours of a range.

    Raises BadUserInput if a day of the time zone does not begin at the beginning of an hour, or if its hours do not
    follow each other.
    """
    first = previous = _whole_hours(name, _offset_at(ZoneInfo(name), first_hour * _HOUR), first_hour * _HOUR)
    changes = []
    for second, seconds in _changes_between(name, first_hour, end_hour):
        offset = _whole_hours(name, seconds, second)
        hour, rest = divmod(second, _HOUR)
        if rest:
            raise _unsupported(name, f"its clocks changed within an hour on {time_of_hour(hour):%Y-%m-%d}")
        if (hour + offset) // HOURS_A_DAY < (hour - 1 + previous) // HOURS_A_DAY:
            raise _unsupported(name, f"its clocks went back to the day before on {time_of_hour(hour):%Y-%m-%d}")
        changes.append((hour, offset))
        previous = offset
    return Offsets(first, tuple(changes))


def _checked_year(day: date) -> None:
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        msg = f"day must be from {FIRST_YEAR} to {LAST_YEAR} in time zones other than UTC, not {day}"
        raise BadUserInput(msg)


def hour_of_day(name: str, day: date) -> int:
    """Returns the first hour of a day of the time zone. Raises BadUserInput as `offsets_between` does."""
    local = (day.toordinal() - FIRST_DAY) * HOURS_A_DAY
    if name == DEFAULT_ZONE:
        return local
    _checked_year(day)
    offsets = offsets_between(name, local - 2 * HOURS_A_DAY, local + 2 * HOURS_A_DAY)
    segments = [(local - 2 * HOURS_A_DAY, offsets.first), *offsets.changes]
    ends = [start for start, _ in segments[1:]]
    for (start, offset), end in zip(segments, [*ends, local + 2 * HOURS_A_DAY], strict=True):
        found = max(start, local - offset)
        if found < end:
            break
    return found
