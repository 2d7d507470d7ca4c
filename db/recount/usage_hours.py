"""Usage hours: with the days that they make up, and with the prices that their costs come from."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Date,
    Select,
    and_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    tuple_,
    union_all,
)

from db import tables
from db.attribution_rows import USAGE_HOUR_KEY, HourKey, UsageHourRow, UsagePriceRow
from db.attribution_tables import usage_hours, usage_prices
from db.hours import HOURS_A_DAY, first_hour
from db.recount import Read
from db.statements import columns, exact_sum, exact_sums

_DAY: Final = tables.usage_days
_HOUR: Final = usage_hours
_PRICE: Final = usage_prices

_ID: Final = bindparam("account_id", type_=BigInteger())
_LIMIT: Final = bindparam("rows", type_=BigInteger())

_ENDS: Final = 2**62
"""An hour beyond every other one."""
_SHIFT_DAYS: Final = 1_000_000
"""Makes the numbers of all days positive: a division of integers drops the fraction towards zero."""

_FIGURES: Final = ("calls", "input_tokens", "output_tokens", "cost_nanos")


class DaySums(NamedTuple):
    day: int
    """Counted from 1970."""
    model: str
    category: str
    origin: str
    of_day: tuple[int, ...]
    """Calls, input tokens, output tokens and cost of the usage day; zeros if there is none."""
    of_hours: tuple[int, ...]
    """The same sums of its hours."""


_NEXT_DAYS: Final = (
    select(_DAY.c.day)
    .where(_DAY.c.account_id == _ID, _DAY.c.day > bindparam("after", type_=Date()))
    .order_by(_DAY.c.day)
    .limit(_LIMIT)
    .subquery()
)
_LAST_OF_NEXT: Final = select(func.max(_NEXT_DAYS.c.day))


async def last_of_next_days(read: Read, account_id: int, after: date, limit: int) -> date | None:
    """Returns the day that so many rows after the day `after` reach to; None if there are no more."""
    [(day,)] = await read(_LAST_OF_NEXT, {"account_id": account_id, "after": after, "rows": limit})
    last: date | None = day
    return last


def _day_number(postgresql: bool) -> Any:
    text = "usage_days.day - DATE '1970-01-01'" if postgresql else "strftime('%s', usage_days.day) / 86400"
    return cast(literal_column(text), BigInteger())


_DAY_OF_HOUR: Final = literal_column(
    f"(usage_hours.hour + {_SHIFT_DAYS * HOURS_A_DAY}) / {HOURS_A_DAY} - {_SHIFT_DAYS}", BigInteger()
)


@lru_cache(maxsize=2)
def _day_sums(postgresql: bool) -> Select[Any]:
    """Reads both tables in one statement, and therefore of one moment."""
    key = ("model", "category", "origin")
    of_days = select(
        _day_number(postgresql).label("day"),
        *(_DAY.c[name] for name in (*key, *_FIGURES)),
        literal_column("0").label("is_hour"),
    ).where(
        _DAY.c.account_id == _ID,
        _DAY.c.day > bindparam("after", type_=Date()),
        _DAY.c.day <= bindparam("last", type_=Date()),
    )
    of_hours = select(
        _DAY_OF_HOUR,
        *(_HOUR.c[name] for name in (*key, *_FIGURES)),
        literal_column("1"),
    ).where(
        _HOUR.c.account_id == _ID,
        _HOUR.c.hour >= bindparam("first_hour", type_=BigInteger()),
        _HOUR.c.hour < bindparam("end_hour", type_=BigInteger()),
    )
    both = union_all(of_days, of_hours).subquery()
    sums = (
        part
        for is_hour in (both.c.is_hour == 0, both.c.is_hour == 1)
        for name in _FIGURES
        for part in exact_sum(both.c[name], postgresql=postgresql, only=is_hour)
    )
    parts = (both.c.day, *(both.c[name] for name in key))
    return select(*parts, *sums).group_by(*parts).order_by(*parts)


async def day_sums(read: Read, account_id: int, after: date, last: date, *, postgresql: bool) -> list[DaySums]:
    """Reads the days after one day up to another, and the sums of their hours. Hours before the first possible day, or
    after the last one, count with it."""
    given = {
        "account_id": account_id,
        "after": after,
        "last": last,
        "first_hour": -_ENDS if after == date.min else first_hour(after) + HOURS_A_DAY,
        "end_hour": _ENDS if last == date.max else first_hour(last) + HOURS_A_DAY,
    }
    found = []
    for row in await read(_day_sums(postgresql), given):
        sums = exact_sums(row[4:], postgresql=postgresql)
        day, model, category, origin = row[:4]
        found.append(DaySums(day, model, category, origin, tuple(sums[:4]), tuple(sums[4:])))
    return found


class PricedHour(NamedTuple):
    row: UsageHourRow
    price: UsagePriceRow | None
    """None if it is missing."""


BEFORE_ALL_HOURS: Final[HourKey] = (0, -_ENDS, 0, "", "", "", "", "", 0)

_KEY: Final = [_HOUR.c[name] for name in USAGE_HOUR_KEY[1:]]

_PRICED_HOURS: Final = (
    select(*columns(_HOUR, UsageHourRow), *columns(_PRICE, UsagePriceRow))
    .select_from(
        _HOUR.outerjoin(_PRICE, and_(_PRICE.c.account_id == _HOUR.c.account_id, _PRICE.c.id == _HOUR.c.price_id))
    )
    .where(
        _HOUR.c.account_id == _ID,
        _HOUR.c.price_id != 0,
        tuple_(*_KEY) > tuple_(*(bindparam(f"after_{column.name}", type_=column.type) for column in _KEY)),
    )
    .order_by(*_KEY)
    .limit(_LIMIT)
)


async def priced_hours_after(read: Read, account_id: int, key: HourKey, limit: int) -> list[PricedHour]:
    """Reads hours whose cost comes from a price, in the order of their keys."""
    after = dict(zip((f"after_{name}" for name in USAGE_HOUR_KEY[1:]), key[1:], strict=True))
    width = len(UsageHourRow._fields)
    return [
        PricedHour(UsageHourRow._make(row[:width]), price_of(row[width:]))
        for row in await read(_PRICED_HOURS, {"account_id": account_id, "rows": limit, **after})
    ]


def price_of(values: Any) -> UsagePriceRow | None:
    """Returns the price in the columns of an outer join."""
    return None if values[0] is None else UsagePriceRow._make(values)
