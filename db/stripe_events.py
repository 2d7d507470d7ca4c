"""Stripe's events as they were received: each id once, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, bindparam, func, select, update

from db.database import Database, WriteConnection
from db.statements import columns
from db.stripe_tables import stripe_events
from db.tables import timestamp
from db.writes import upsert

_EVENT = stripe_events


class StripeEventRow(NamedTuple):
    id: str
    type: str
    created_at: datetime
    received_at: datetime
    state: str
    reason: str | None
    account_id: int | None
    waits_for: str | None
    payload: str | None
    attempts: int
    retry_at: datetime | None


async def received(connection: WriteConnection, event: StripeEventRow) -> StripeEventRow:
    """The event as it stands, locked: this one if its id was not known yet.

    Where another transaction receives the same id at the same time, waits for its end.
    """
    statement = upsert(connection, _EVENT).values(**event._asdict()).on_conflict_do_nothing(index_elements=["id"])
    await connection.execute(statement)
    row = await locked(connection, event.id)
    assert row is not None
    return row


async def locked(connection: WriteConnection, event_id: str) -> StripeEventRow | None:
    statement = select(*columns(_EVENT, StripeEventRow)).where(_EVENT.c.id == event_id).with_for_update()
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else StripeEventRow._make(row)


async def put(connection: WriteConnection, event: StripeEventRow) -> None:
    await connection.execute(update(_EVENT).where(_EVENT.c.id == event.id).values(**event._asdict()))


_DUE = (
    select(*columns(_EVENT, StripeEventRow))
    .where(_EVENT.c.state == "waiting", _EVENT.c.retry_at <= bindparam("now", type_=timestamp()))
    .order_by(_EVENT.c.retry_at, _EVENT.c.id)
    .limit(bindparam("rows", type_=BigInteger()))
)
_WAITING_FOR = (
    select(_EVENT.c.id)
    .where(_EVENT.c.state == "waiting", _EVENT.c.waits_for == bindparam("waits_for"))
    .order_by(_EVENT.c.received_at, _EVENT.c.id)
)
_WAITING = select(func.count()).select_from(_EVENT).where(_EVENT.c.state == "waiting")


async def due(database: Database, now: datetime, limit: int) -> list[StripeEventRow]:
    """Waiting events whose time to be tried again has come, the longest overdue first."""
    return [StripeEventRow._make(row) for row in await database.read(_DUE, {"now": now, "rows": limit})]


async def waiting_for(database: Database, name: str) -> list[str]:
    """Ids of the events that wait for this customer or payment, in the order of their receipt."""
    return [row[0] for row in await database.read(_WAITING_FOR, {"waits_for": name})]


async def newest(database: Database, state: str | None, limit: int) -> list[StripeEventRow]:
    statement = select(*columns(_EVENT, StripeEventRow)).order_by(_EVENT.c.received_at.desc(), _EVENT.c.id.desc())
    if state is not None:
        statement = statement.where(_EVENT.c.state == state)
    return [StripeEventRow._make(row) for row in await database.read(statement.limit(limit))]


async def waiting_count(database: Database) -> int:
    return int((await database.read(_WAITING))[0][0])
