"""Hour buckets: hours as hours, days, weeks and months of a time zone.

An hour is the number of hours since 1970. A day, week or month is the number of its first day (`date.toordinal`).
"""

from __future__ import annotations

from datetime import date
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Date, DateTime, Integer, bindparam, case, cast, func, literal_column

from db.hours import HOURS_A_DAY

HOUR: Final = "hour"
DAY: Final = "day"
WEEK: Final = "week"
MONTH: Final = "month"
BUCKETS: Final = (HOUR, DAY, WEEK, MONTH)

FIRST_DAY: Final = date(1970, 1, 1).toordinal()
HOURS_BEFORE_1970: Final = FIRST_DAY * HOURS_A_DAY
_SECONDS_A_DAY: Final = 86_400
# Numbers of clock changes in a statement, so that few statements are built.
_SIZES: Final = (0, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Offsets(NamedTuple):
    """Offsets of a time zone from UTC in hours. A change is the first hour with an offset, and that offset."""

    first: int = 0
    changes: tuple[tuple[int, int], ...] = ()


IN_UTC: Final = Offsets()


def changes_in_statement(offsets: Offsets) -> int | None:
    """Returns the number of clock changes in the text of a statement; None for UTC."""
    return None if offsets == IN_UTC else next(size for size in _SIZES if size >= len(offsets.changes))


def offset_parameters(offsets: Offsets) -> dict[str, int]:
    """Returns the offsets as parameters, newest first. The oldest change is repeated to fill the statement."""
    size = changes_in_statement(offsets)
    if size is None:
        return {}
    changes = offsets.changes[::-1]
    changes += changes[-1:] * (size - len(changes))
    values = {"offset": offsets.first}
    for number, (hour, offset) in enumerate(changes):
        values |= {f"change_{number}": hour, f"offset_{number}": offset}
    return values


def constant(number: int) -> ColumnElement[int]:
    return literal_column(str(number), BigInteger())


def _parameter(name: str) -> ColumnElement[int]:
    return bindparam(name, type_=BigInteger())


def _offset(hour: ColumnElement[int], changes: int) -> ColumnElement[int]:
    """Compares the newest change first, because most rows are new."""
    if not changes:
        return _parameter("offset")
    found = [(hour >= _parameter(f"change_{number}"), _parameter(f"offset_{number}")) for number in range(changes)]
    return case(*found, else_=_parameter("offset"))


def _day(hour: ColumnElement[int], changes: int | None) -> ColumnElement[int]:
    """Counts from the year 1, so that the databases' division of integers rounds down."""
    local = hour if changes is None else hour + _offset(hour, changes)
    day: ColumnElement[int] = (local + constant(HOURS_BEFORE_1970)) // constant(HOURS_A_DAY)
    return day


def _monday(day: ColumnElement[int]) -> ColumnElement[int]:
    """Returns the first day of the week. Day 1 was a Monday."""
    monday: ColumnElement[int] = (day - constant(1)) // constant(7) * constant(7) + constant(1)
    return monday


def _first_of_month(day: ColumnElement[int], *, postgresql: bool) -> ColumnElement[int]:
    since_1970 = day - constant(FIRST_DAY)
    if postgresql:
        epoch: ColumnElement[Any] = literal_column("DATE '1970-01-01'", Date())
        month = func.date_trunc("month", cast(epoch.op("+")(cast(since_1970, Integer())), DateTime()))
        days: ColumnElement[int] = cast(cast(month, Date()).op("-")(epoch), BigInteger())
        return days + constant(FIRST_DAY)
    seconds: ColumnElement[str] = func.strftime(
        "%s", since_1970 * constant(_SECONDS_A_DAY), "unixepoch", "start of month"
    )
    return cast(seconds, BigInteger()) // constant(_SECONDS_A_DAY) + constant(FIRST_DAY)


def bucket_of_hour(
    hour: ColumnElement[int], bucket: str, changes: int | None, *, postgresql: bool
) -> ColumnElement[int]:
    """Returns the bucket of an hour. `changes` is the number of clock changes; None for UTC."""
    if bucket == HOUR:
        return hour
    day = _day(hour, changes)
    if bucket == DAY:
        return day
    if bucket == WEEK:
        return _monday(day)
    return _first_of_month(day, postgresql=postgresql)
