"""Verification runs: the worker's progress in verifying all accounts, day by day."""

from __future__ import annotations

from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import select

from db.database import Database, WriteConnection
from db.integrity_tables import verification_runs
from db.statements import columns
from db.writes import upsert

_RUN: Final = verification_runs


class VerificationRunRow(NamedTuple):
    day: date
    started_at: datetime
    account_id: int
    accounts: int
    faults: int
    finished_at: datetime | None


_NEWEST: Final = select(*columns(_RUN, VerificationRunRow)).order_by(_RUN.c.day.desc()).limit(1)
_NEWEST_FINISHED: Final = _NEWEST.where(_RUN.c.finished_at.is_not(None))


async def newest_run(database: Database, *, finished: bool = False) -> VerificationRunRow | None:
    rows = await database.read(_NEWEST_FINISHED if finished else _NEWEST)
    return VerificationRunRow._make(rows[0]) if rows else None


async def put_run(connection: WriteConnection, row: VerificationRunRow) -> None:
    statement = upsert(connection, _RUN).values(**row._asdict())
    changing = {name: statement.excluded[name] for name in ("account_id", "accounts", "faults", "finished_at")}
    await connection.execute(statement.on_conflict_do_update(index_elements=[_RUN.c.day], set_=changing))
