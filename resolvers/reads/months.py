from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from db.rows import AccountRow, MonthlyFiguresRow
from ledger.account_state import month_of
from ledger.errors import BadUserInput
from resolvers.context import QueryContext

MAX_MONTHS: Final = 120
DEFAULT_MONTHS: Final = 12
_MONTH: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])", re.ASCII)


def parse_month(text: str) -> str:
    if _MONTH.fullmatch(text) is None or text.startswith("0000"):
        msg = f'a month must look like "2026-11", not "{text[:20]}"'
        raise BadUserInput(msg)
    return text


@lru_cache(maxsize=64)
def months_until(year: int, month: int, count: int) -> tuple[str, ...]:
    """Returns the newest `count` months, oldest first."""
    last = year * 12 + month - 1
    return tuple(f"{number // 12:04d}-{number % 12 + 1:02d}" for number in range(last - count + 1, last + 1))


def prefetch_summary(context: QueryContext, account_id: int, month: str | None = None) -> None:
    context.loaders.months.load((account_id, (month or month_of(context.now),)))


def prefetch_summaries(context: QueryContext, account_id: int, last: int | None = None) -> None:
    context.loaders.months.load((account_id, _newest_months(context, last)))


def _newest_months(context: QueryContext, last: int | None) -> tuple[str, ...]:
    last = DEFAULT_MONTHS if last is None else last
    if not 1 <= last <= MAX_MONTHS:
        msg = f"last must be between 1 and {MAX_MONTHS} months, not {last}"
        raise BadUserInput(msg)
    return months_until(context.now.year, context.now.month, last)


async def monthly_summary(context: QueryContext, row: AccountRow, month: str | None) -> MonthlyFiguresRow:
    return (await context.loaders.months.load((row.id, (month or month_of(context.now),))))[0]


async def monthly_summaries(context: QueryContext, row: AccountRow, last: int | None) -> list[MonthlyFiguresRow]:
    """Returns the summaries, oldest first."""
    return await context.loaders.months.load((row.id, _newest_months(context, last)))
