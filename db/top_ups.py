"""Top-ups: the Checkout session of each top-up, by the call that requested it."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select, update

from db.database import WriteConnection
from db.statements import columns
from db.stripe_tables import top_ups


class TopUpRow(NamedTuple):
    account_id: int
    key: str
    """The call's idempotency key."""
    session_id: str
    url: str
    amount_nanos: int
    expires_at: datetime
    completed_at: datetime | None
    created_at: datetime


async def insert_top_up(connection: WriteConnection, row: TopUpRow) -> None:
    await connection.execute(top_ups.insert().values(**row._asdict()))


async def top_up(connection: WriteConnection, account_id: int, key: str) -> TopUpRow | None:
    statement = select(*columns(top_ups, TopUpRow)).where(top_ups.c.account_id == account_id, top_ups.c.key == key)
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else TopUpRow._make(row)


async def complete_top_up(connection: WriteConnection, session_id: str, now: datetime) -> None:
    """Marks the session as completed by the customer. Ignores sessions of other systems."""
    is_open = (top_ups.c.session_id == session_id, top_ups.c.completed_at.is_(None))
    await connection.execute(update(top_ups).where(*is_open).values(completed_at=now))
