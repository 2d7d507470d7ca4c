"""Tickets at rest: found by the digest of their token, and always together with the key that they stand for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, delete, insert, select, update

from db import tables
from db.database import Database, WriteConnection
from db.rows import ApiKeyRow, TicketRow
from db.statements import columns

_TICKET = tables.tickets
_KEY = tables.api_keys
_WIDTH = len(TicketRow._fields)
_BY_DIGEST = (
    select(*columns(_TICKET, TicketRow), *columns(_KEY, ApiKeyRow))
    .join(_KEY, _KEY.c.id == _TICKET.c.key_id)
    .where(_TICKET.c.digest == bindparam("digest"))
)


async def ticket_by_digest(database: Database, digest: bytes) -> tuple[TicketRow, ApiKeyRow] | None:
    rows = await database.read(_BY_DIGEST, {"digest": digest})
    return (TicketRow._make(rows[0][:_WIDTH]), ApiKeyRow._make(rows[0][_WIDTH:])) if rows else None


async def insert_ticket(connection: WriteConnection, row: TicketRow) -> None:
    await connection.execute(insert(_TICKET).values(**row._asdict()))


async def use_ticket(connection: WriteConnection, digest: bytes, now: datetime) -> bool:
    """False where another was first."""
    statement = (
        update(_TICKET)
        .where(_TICKET.c.digest == digest, _TICKET.c.used_at.is_(None))
        .values(used_at=now)
        .returning(_TICKET.c.digest)
    )
    return (await connection.execute(statement)).first() is not None


async def delete_ticket(connection: WriteConnection, digest: bytes) -> None:
    await connection.execute(delete(_TICKET).where(_TICKET.c.digest == digest))


async def delete_oldest_tickets(connection: WriteConnection, key_id: int, purpose: str, keep: int) -> None:
    """Leaves the newest so many of the key and purpose. The key must be locked."""
    older = (
        select(_TICKET.c.digest)
        .where(_TICKET.c.key_id == key_id, _TICKET.c.purpose == purpose)
        .order_by(_TICKET.c.created_at.desc(), _TICKET.c.digest)
        .offset(keep)
    )
    await connection.execute(delete(_TICKET).where(_TICKET.c.digest.in_(older)))


async def delete_expired_tickets(connection: WriteConnection, now: datetime, limit: int) -> int:
    """How many were deleted: of those that expired first, at most `limit`."""
    expired = (
        select(_TICKET.c.digest)
        .where(_TICKET.c.expires_at <= now)
        .order_by(_TICKET.c.expires_at)
        .limit(limit)
        # Another process may be deleting too.
        .with_for_update(skip_locked=True)
    )
    deleted = await connection.execute(delete(_TICKET).where(_TICKET.c.digest.in_(expired)))
    return deleted.rowcount
