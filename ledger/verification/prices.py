"""Prices: recomputes every usage figure from quantity and price, and compares hours with the days that they make up.

A request that is kept in full has exactly the cost that its price gives. The cost of an hour is a sum of costs that
were each rounded, so it is within half a nano-dollar a call of what the hour's quantities cost. Every read is one
statement, and a transaction writes all that it compares.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from db.attribution_rows import RequestDetailRow, UsageHourRow, UsagePriceRow
from db.hours import time_of_hour
from db.recount import Read
from db.recount.prices import StoredDetail, details_after, prices_after
from db.recount.usage_hours import (
    BEFORE_ALL_HOURS,
    DaySums,
    PricedHour,
    day_sums,
    last_of_next_days,
    priced_hours_after,
)
from ledger.chain import format_time
from ledger.errors import BadUserInput
from ledger.ids import transaction_id_text
from ledger.kinds import RefType
from ledger.usage import id_digest
from ledger.usage_prices import NO_PRICE, Quantities, UsagePrice, price_id
from ledger.verification.faults import FaultKind, Faults, differences

DAYS_AT_ONCE = 1_000
HOURS_AT_ONCE = 1_000
DETAILS_AT_ONCE = 500

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIGURES = ("calls", "input_tokens", "output_tokens", "cost_nanos")
_HALF_BILLION = 500_000_000


async def check_prices(read: Read, account_id: int, faults: Faults) -> None:
    """Checks that each stored price is the one that its id was computed from."""
    after = -1
    while page := await prices_after(read, account_id, after, HOURS_AT_ONCE):
        for row in page:
            expected = price_id(UsagePrice.of_row(row))
            if row.id != expected:
                faults.add(FaultKind.PRICE, f"price {row.id}", f"the price was changed: its id should be {expected}")
        after = page[-1].id


async def check_days(read: Read, account_id: int, faults: Faults, *, postgresql: bool) -> None:
    """Checks that the hours of each day, model, category and origin add up to the day."""
    after, last = date.min, date.min
    while last < date.max:
        last = await last_of_next_days(read, account_id, after, DAYS_AT_ONCE) or date.max
        for sums in await day_sums(read, account_id, after, last, postgresql=postgresql):
            _check_day(sums, faults)
        after = last


def _check_day(sums: DaySums, faults: Faults) -> None:
    if sums.of_day == sums.of_hours:
        return
    day = (_EPOCH + timedelta(days=sums.day)).date()
    of_day, of_hours = (dict(zip(_FIGURES, figures, strict=True)) for figures in (sums.of_day, sums.of_hours))
    different = differences(of_hours, of_day)
    faults.add(
        FaultKind.HOUR,
        f"{day} {sums.model} {sums.category} {sums.origin}",
        f"the hours do not add up to the day: {different}",
    )


async def check_hours(read: Read, account_id: int, faults: Faults) -> None:
    """Checks the cost of each hour row that has a price."""
    after = BEFORE_ALL_HOURS
    while page := await priced_hours_after(read, account_id, after, HOURS_AT_ONCE):
        for hour in page:
            if message := _hour_problem(hour):
                faults.add(FaultKind.PRICE, hour_text(hour.row), message)
        after = page[-1].row[:9]


def _hour_problem(hour: PricedHour) -> str:
    row = hour.row
    if hour.price is None:
        return f"the price {row.price_id} is missing"
    used = Quantities(*row[10:15])
    if message := _parts_problem(used):
        return message
    exact = UsagePrice.of_row(hour.price).billionths(used, row.calls)
    if abs(1_000_000_000 * row.cost_nanos - exact) > row.calls * _HALF_BILLION:
        return f"cost_nanos is {row.cost_nanos}, more than half a nano-dollar a call from {_rounded(exact)}"
    return ""


def _rounded(billionths: int) -> int:
    return (billionths + _HALF_BILLION) // 1_000_000_000


def _parts_problem(used: Quantities) -> str:
    if used.cached_input_tokens > used.input_tokens:
        return "there are more cached input tokens than input tokens"
    if used.reasoning_tokens > used.output_tokens:
        return "there are more reasoning tokens than output tokens"
    return f"a quantity is negative: {tuple(used)}" if min(used) < 0 else ""


def hour_text(row: UsageHourRow) -> str:
    """Returns the name of a row: its hour, model and category."""
    return f"{hour_start(row.hour)} {row.model} {row.category} {row.origin}"


def hour_start(hour: int) -> str:
    """Returns the time at which the hour begins."""
    try:
        return format_time(time_of_hour(hour))
    except OverflowError:
        return f"hour {hour}"


async def check_details(read: Read, account_id: int, faults: Faults) -> None:
    """Checks each request that is kept in full."""
    at, digest = datetime.min.replace(tzinfo=UTC), b""
    while page := await details_after(read, account_id, at, digest, DETAILS_AT_ONCE):
        for stored in page:
            if message := _detail_problem(stored):
                faults.add(FaultKind.REQUEST, detail_text(stored.row), message)
        at, digest = page[-1].row.at, bytes(page[-1].row.digest)


def detail_text(row: RequestDetailRow) -> str:
    return row.request_id or f"{format_time(row.at)} {bytes(row.digest).hex()}"


def _detail_problem(stored: StoredDetail) -> str:
    row = stored.row
    if row.request_id is not None and id_digest(row.request_id) != bytes(row.digest):
        return "the digest is not that of the request's id"
    if not stored.is_counted:
        return "the request is not among the requests that were counted"
    used = Quantities(*row[10:15])
    return _parts_problem(used) or _cost_problem(row, used, stored.price) or _row_problem(stored)


def _cost_problem(row: RequestDetailRow, used: Quantities, price: UsagePriceRow | None) -> str:
    if row.price_id == NO_PRICE:
        return ""
    if price is None:
        return f"the price {row.price_id} is missing"
    try:
        expected = UsagePrice.of_row(price).cost_nanos(used)
    except BadUserInput as error:
        return str(error)
    return "" if row.cost_nanos == expected else f"cost_nanos is {row.cost_nanos}, expected {expected}"


def _row_problem(stored: StoredDetail) -> str:
    row = stored.row
    if row.seq is None:
        return ""
    name = transaction_id_text(row.account_id, row.seq)
    if stored.ref_type != RefType.API_USAGE:
        return f"the row {name}, which should charge the request, is not a row of API usage"
    start, end = stored.period_start, stored.period_end
    if start is not None and end is not None and not start <= row.at < end:
        return f"the row {name} charges {format_time(start)} to {format_time(end)}, but the request is outside"
    return ""
