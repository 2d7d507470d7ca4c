"""Rows of hours, written as they are, on either database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Table, insert

from db.attribution_rows import CostHourRow, UsageHourRow
from db.attribution_tables import cost_hours, usage_hours, usage_marks
from db.database import Database, WriteConnection

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def hour_of(year: int, month: int, day: int, hour: int = 0) -> int:
    return int((datetime(year, month, day, hour, tzinfo=UTC) - _EPOCH).total_seconds()) // 3_600


def usage_hour(account_id: int, hour: int, cost_nanos: int, **given: int | str) -> UsageHourRow:
    """One call, with the given columns changed."""
    row = UsageHourRow(
        account_id,
        hour,
        *(1, "m", "chat", "platform", "", "", 0),
        *(1, 20, 5, 10, 3, 7),
        cost_nanos,
    )
    return row._replace(**given)  # type: ignore[arg-type]


async def insert_hours(database: Database, rows: Sequence[UsageHourRow] | Sequence[CostHourRow]) -> None:
    if rows:
        table: Table = usage_hours if isinstance(rows[0], UsageHourRow) else cost_hours
        async with database.write() as connection:
            await connection.execute(insert(table), [row._asdict() for row in rows])


async def mark_complete(connection: WriteConnection, account_id: int, service: str, until: datetime) -> None:
    values = {"account_id": account_id, "service": service, "complete_until": until}
    await connection.execute(insert(usage_marks), [values])
