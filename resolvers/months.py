from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from db.rows import AccountRow, MonthlyFiguresRow
from ledger.errors import BadUserInput
from ledger.posting import month_of
from resolvers.context import Reads

MAX_MONTHS: Final = 120
DEFAULT_MONTHS: Final = 12
_MONTH: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])", re.ASCII)


def parse_month(text: str) -> str:
    if _MONTH.fullmatch(text) is None or text.startswith("0000"):
        msg = f'a month must look like "2026-11", not "{text[:20]}"'
        raise BadUserInput(msg)
    return text


def months_until(now: datetime, count: int) -> list[str]:
    """The newest `count` months, oldest first."""
    last = now.year * 12 + now.month - 1
    return [f"{month // 12:04d}-{month % 12 + 1:02d}" for month in range(last - count + 1, last + 1)]


def ask_summary(reads: Reads, account_id: int, month: str | None = None) -> None:
    reads.loaders.month.load((account_id, month or month_of(reads.now)))


def ask_summaries(reads: Reads, account_id: int, last: int | None = None) -> None:
    for month in _months(reads, last):
        reads.loaders.month.load((account_id, month))


def _months(reads: Reads, last: int | None) -> list[str]:
    last = DEFAULT_MONTHS if last is None else last
    if not 1 <= last <= MAX_MONTHS:
        msg = f"last must be between 1 and {MAX_MONTHS} months, not {last}"
        raise BadUserInput(msg)
    return months_until(reads.now, last)


async def monthly_summary(reads: Reads, row: AccountRow, month: str | None) -> MonthlyFiguresRow:
    return await reads.loaders.month.load((row.id, month or month_of(reads.now)))


async def monthly_summaries(reads: Reads, row: AccountRow, last: int | None) -> list[MonthlyFiguresRow]:
    asked = [reads.loaders.month.load((row.id, month)) for month in _months(reads, last)]
    return [await one for one in asked]
