"""Months: monthly figures, and the parts of them that are not in ledger rows, which are open holds and usage."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Select, String, bindparam, cast, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db import tables
from db.recount import Read
from db.rows import MonthlyFiguresRow
from db.statements import columns, exact_sum, exact_sums
from db.writes import add_to_months

_FIGURES: Final = tables.monthly_figures
_HOLD: Final = tables.holds
_DAY: Final = tables.usage_days

_ID: Final = bindparam("account_id", type_=BigInteger())

_MONTHS: Final = (
    select(*columns(_FIGURES, MonthlyFiguresRow)).where(_FIGURES.c.account_id == _ID).order_by(_FIGURES.c.month)
)


async def months(read: Read, account_id: int) -> dict[str, MonthlyFiguresRow]:
    """Reads all stored months."""
    rows = map(MonthlyFiguresRow._make, await read(_MONTHS, {"account_id": account_id}))
    return {row.month: row for row in rows}


@lru_cache(maxsize=2)
def _open_holds(postgresql: bool) -> Select[Any]:
    return (
        select(_HOLD.c.month, *exact_sum(_HOLD.c.held_nanos, postgresql=postgresql))
        .where(_HOLD.c.account_id == _ID, _HOLD.c.state == "open")
        .group_by(_HOLD.c.month)
    )


async def open_holds(read: Read, account_id: int, *, postgresql: bool) -> dict[str, int]:
    """Reads the amounts of open holds, by the month of their rows."""
    rows = await read(_open_holds(postgresql), {"account_id": account_id})
    return {month: exact_sums(sums, postgresql=postgresql)[0] for month, *sums in rows}


class UsageSums(NamedTuple):
    month: str
    category: str
    origin: str
    calls: int
    tokens: int
    """Input and output."""


@lru_cache(maxsize=2)
def _usage(postgresql: bool) -> Select[Any]:
    # A day's text is of the same form on both: the server's DateStyle does not reach it.
    day = func.to_char(_DAY.c.day, "YYYY-MM-DD") if postgresql else cast(_DAY.c.day, String())
    month = func.substr(day, 1, 7, type_=String()).label("month")
    figures = (_DAY.c.calls, _DAY.c.input_tokens, _DAY.c.output_tokens)
    return (
        select(
            month,
            _DAY.c.category,
            _DAY.c.origin,
            *(part for figure in figures for part in exact_sum(figure, postgresql=postgresql)),
        )
        .where(_DAY.c.account_id == _ID)
        .group_by(month, _DAY.c.category, _DAY.c.origin)
    )


async def usage(read: Read, account_id: int, *, postgresql: bool) -> list[UsageSums]:
    found = []
    for month, category, origin, *sums in await read(_usage(postgresql), {"account_id": account_id}):
        calls, input_tokens, output_tokens = exact_sums(sums, postgresql=postgresql)
        found.append(UsageSums(month, category, origin, calls, input_tokens + output_tokens))
    return found


async def replace_months(connection: AsyncConnection, account_id: int, rows: list[MonthlyFiguresRow]) -> None:
    """Replaces the months. The account must be locked."""
    await connection.execute(delete(_FIGURES).where(_FIGURES.c.account_id == account_id))
    await add_to_months(connection, rows)
