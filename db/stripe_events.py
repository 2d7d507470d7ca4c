"""Stripe events as received: each id once, with its state."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Select, bindparam, delete, func, or_, select, update

from db.connections.snapshots import Snapshot
from db.database import Database, WriteConnection
from db.shards import with_id
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
    object_id: str | None = None
    """The Stripe object of the event."""
    number: int = 0
    """Assigned by the database, in order of receipt."""


def _values(event: StripeEventRow) -> dict[str, Any]:
    values = event._asdict()
    del values["number"]
    return values


async def received(connection: WriteConnection, event: StripeEventRow) -> StripeEventRow:
    """Stores the event if its id is new. Returns the stored event, locked.

    Waits for another transaction that receives the same id.
    """
    values = _values(event) | with_id(connection, _EVENT.c.number)
    statement = upsert(connection, _EVENT).values(**values).on_conflict_do_nothing(index_elements=["id"])
    row = None
    # Another shard may take the stored event over in between.
    while row is None:
        await connection.execute(statement)
        row = await locked(connection, event.id)
    return row


async def locked(connection: WriteConnection, event_id: str) -> StripeEventRow | None:
    statement = select(*columns(_EVENT, StripeEventRow)).where(_EVENT.c.id == event_id).with_for_update()
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else StripeEventRow._make(row)


async def put(connection: WriteConnection, event: StripeEventRow) -> None:
    await connection.execute(update(_EVENT).where(_EVENT.c.id == event.id).values(**_values(event)))


async def remove(connection: WriteConnection, event_id: str) -> None:
    """Removes the event from a shard that no longer has it."""
    await connection.execute(delete(_EVENT).where(_EVENT.c.id == event_id))


_DUE = (
    select(*columns(_EVENT, StripeEventRow))
    .where(_EVENT.c.retry_at <= bindparam("now", type_=timestamp()))
    .order_by(_EVENT.c.retry_at, _EVENT.c.id)
    .limit(bindparam("rows", type_=BigInteger()))
)
_WAITING_FOR = select(_EVENT.c.id).where(_EVENT.c.waits_for == bindparam("waits_for")).order_by(_EVENT.c.number)
_STORED = select(_EVENT.c.number).where(_EVENT.c.id == bindparam("event_id"))
_OPEN = (
    select(_EVENT.c.state, func.count())
    .where(or_(_EVENT.c.state == "waiting", _EVENT.c.state == "needs_attention"))
    .group_by(_EVENT.c.state)
)


async def due(database: Database, now: datetime, limit: int) -> list[StripeEventRow]:
    """Returns events that are due for another try, longest overdue first."""
    return [StripeEventRow._make(row) for row in await database.read(_DUE, {"now": now, "rows": limit})]


async def waiting_for(database: Database, name: str) -> list[str]:
    """Returns the ids of events that wait for this customer or payment, in order of receipt."""
    return [row[0] for row in await database.read(_WAITING_FOR, {"waits_for": name})]


async def make_due(connection: WriteConnection, name: str, now: datetime) -> int:
    """Makes the events that wait for this customer or payment due in the next round. Returns how many."""
    statement = update(_EVENT).where(_EVENT.c.waits_for == name).values(retry_at=now)
    return (await connection.execute(statement)).rowcount


async def make_all_due(connection: WriteConnection, now: datetime) -> None:
    """Makes all events that are tried again due in the next round."""
    await connection.execute(update(_EVENT).where(_EVENT.c.retry_at > now).values(retry_at=now))


async def other_needing_attention(connection: WriteConnection, object_id: str, event_id: str) -> str | None:
    """Returns the id of another event of the same object that needs a person, or None."""
    statement = (
        select(_EVENT.c.id)
        .where(_EVENT.c.state == "needs_attention", _EVENT.c.object_id == object_id, _EVENT.c.id != event_id)
        .order_by(_EVENT.c.number)
        .limit(1)
    )
    return (await connection.execute(statement)).scalar_one_or_none()


@lru_cache(maxsize=8)
def _page_statement(state: bool, after: bool, down_to: bool) -> Select[Any]:
    statement = select(*columns(_EVENT, StripeEventRow)).order_by(_EVENT.c.number.desc())
    if state:
        statement = statement.where(_EVENT.c.state == bindparam("state"))
    if after:
        statement = statement.where(_EVENT.c.number < bindparam("after", type_=BigInteger()))
    if down_to:
        statement = statement.where(_EVENT.c.number > bindparam("down_to", type_=BigInteger()))
    return statement.limit(bindparam("rows", type_=BigInteger()))


@lru_cache(maxsize=2)
def _count_statement(state: bool) -> Select[Any]:
    statement = select(func.count()).select_from(_EVENT)
    return statement.where(_EVENT.c.state == bindparam("state")) if state else statement


def _given(**parameters: Any) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not None}


async def event_page(
    snapshot: Snapshot, state: str | None, *, limit: int, after: int | None = None, down_to: int | None = None
) -> list[StripeEventRow]:
    """Returns a page, newest first. `after` and `down_to` are numbers, between which the page is."""
    statement = _page_statement(state is not None, after is not None, down_to is not None)
    rows = await snapshot.rows(statement, _given(rows=limit, state=state, after=after, down_to=down_to))
    return [StripeEventRow._make(row) for row in rows]


async def event_count(snapshot: Snapshot, state: str | None) -> int:
    rows = await snapshot.rows(_count_statement(state is not None), _given(state=state))
    return int(rows[0][0])


async def newest(database: Database, state: str | None, limit: int) -> list[StripeEventRow]:
    async with database.snapshot() as snapshot:
        return await event_page(snapshot, state, limit=limit)


async def is_stored(database: Database, event_id: str) -> bool:
    return bool(await database.read(_STORED, {"event_id": event_id}))


async def open_counts(*databases: Database) -> Counter[str]:
    """Returns how many events wait and how many need a person, by state, in all these databases."""
    found = [Counter({row[0]: int(row[1]) for row in await database.read(_OPEN)}) for database in databases]
    return sum(found, Counter())
