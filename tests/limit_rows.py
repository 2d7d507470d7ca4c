"""Rows of limit and cost tables, written as they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import insert, update

from db.attribution_rows import CostHourRow
from db.attribution_tables import cost_hours
from db.database import Database
from db.limit_rows import AuthorizationRow, SpendLimitEventRow, SpendLimitRow
from db.limit_tables import authorizations, spend_limit_events, spend_limits
from tests.ledger.desk import START

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR: Final = timedelta(hours=1)
_TABLES: Final[dict[type, Any]] = {
    AuthorizationRow: authorizations,
    CostHourRow: cost_hours,
    SpendLimitRow: spend_limits,
    SpendLimitEventRow: spend_limit_events,
}


async def insert_rows(database: Database, *rows: Any) -> None:
    async with database.write() as connection:
        for row in rows:
            await connection.execute(insert(_TABLES[type(row)]).values(**row._asdict()))


async def change_limit(database: Database, account_id: int, number: int, **values: Any) -> None:
    limit = spend_limits.c
    is_it = (limit.account_id == account_id, limit.number == number)
    async with database.write() as connection:
        await connection.execute(update(spend_limits).where(*is_it).values(**values))


def cost(
    account_id: int, at: datetime, gross_nanos: int, refunded_nanos: int = 0, *, api_key: str = "", project: str = ""
) -> CostHourRow:
    hour = (at - _EPOCH) // _HOUR
    return CostHourRow(account_id, hour, "api_usage", "", api_key, project, gross_nanos, refunded_nanos)


def authorization(
    account_id: int,
    number: int,
    amount_nanos: int,
    *,
    captured_nanos: int = 0,
    state: str = "open",
    expires_at: datetime = START + _HOUR,
    api_key: str = "",
    project: str = "",
) -> AuthorizationRow:
    closed_at = None if state == "open" else START
    return AuthorizationRow(
        account_id, number, state, amount_nanos, captured_nanos, START, expires_at, closed_at, api_key, project, None
    )


def limit(
    account_id: int,
    number: int,
    *,
    amount_nanos: int = 10**9,
    spent_nanos: int = 0,
    notified_percent: int = 0,
    window_start: datetime = START,
    api_key: str = "",
) -> SpendLimitRow:
    """A limit of a month."""
    return SpendLimitRow(
        account_id, number, api_key, "", "month", amount_nanos, "50,80,100", START, START, None, spent_nanos,
        window_start, notified_percent,
    )  # fmt: skip
