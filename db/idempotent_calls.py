"""Idempotency keys of calls that write no ledger rows. All statements run in the caller's transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db import tables
from db.database import Database
from db.rows import IdempotentCallRow
from db.statements import columns
from db.writes import upsert

_ACT = tables.idempotent_acts


async def claim_call(connection: AsyncConnection, row: IdempotentCallRow) -> IdempotentCallRow | None:
    """Claims the key. Returns None if it was free, else the row of the call that has it.

    Waits for a transaction that has claimed the key and has not ended. On PostgreSQL, the row of another call is
    locked: so the commit waits for the synchronous standby, which may not have that call yet.
    """
    statement = upsert(connection, _ACT).values(**row._asdict()).on_conflict_do_nothing().returning(_ACT.c.key)
    if (await connection.execute(statement)).first() is not None:
        return None
    known = select(*columns(_ACT, IdempotentCallRow)).where(*_is(row)).with_for_update(read=True, key_share=True)
    return IdempotentCallRow._make((await connection.execute(known)).one())


async def read_call(database: Database, scope: str, operation: str, key: str) -> IdempotentCallRow | None:
    """Returns the row of the call that has this key."""
    is_it = (_ACT.c.scope == scope, _ACT.c.operation == operation, _ACT.c.key == key)
    rows = await database.read(select(*columns(_ACT, IdempotentCallRow)).where(*is_it))
    return IdempotentCallRow._make(rows[0]) if rows else None


async def finish_call(connection: AsyncConnection, row: IdempotentCallRow) -> None:
    """Stores the result of a claimed call."""
    results = ("account_id", "key_prefix", "balance_nanos", "last_seq")
    values = {name: getattr(row, name) for name in results}
    await connection.execute(update(_ACT).where(*_is(row)).values(**values))


def _is(row: IdempotentCallRow) -> list[Any]:
    return [column == getattr(row, column.name) for column in _ACT.primary_key]
