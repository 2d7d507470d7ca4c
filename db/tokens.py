"""Tokens at rest: found by the digest of their token, and always together with the key that they stand for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, delete, insert, select, update

from db import tables
from db.database import Database, WriteConnection
from db.rows import ApiKeyRow, TokenRow
from db.statements import columns

_TOKEN = tables.tokens
_KEY = tables.api_keys
_WIDTH = len(TokenRow._fields)
_BY_DIGEST = (
    select(*columns(_TOKEN, TokenRow), *columns(_KEY, ApiKeyRow))
    .join(_KEY, _KEY.c.id == _TOKEN.c.key_id)
    .where(_TOKEN.c.digest == bindparam("digest"))
)


async def token_by_digest(database: Database, digest: bytes) -> tuple[TokenRow, ApiKeyRow] | None:
    rows = await database.read(_BY_DIGEST, {"digest": digest})
    return (TokenRow._make(rows[0][:_WIDTH]), ApiKeyRow._make(rows[0][_WIDTH:])) if rows else None


async def insert_token(connection: WriteConnection, row: TokenRow) -> None:
    await connection.execute(insert(_TOKEN).values(**row._asdict()))


async def use_token(connection: WriteConnection, digest: bytes, now: datetime) -> bool:
    """False where another was first."""
    statement = (
        update(_TOKEN)
        .where(_TOKEN.c.digest == digest, _TOKEN.c.used_at.is_(None))
        .values(used_at=now)
        .returning(_TOKEN.c.digest)
    )
    return (await connection.execute(statement)).first() is not None


async def delete_token(connection: WriteConnection, digest: bytes) -> None:
    await connection.execute(delete(_TOKEN).where(_TOKEN.c.digest == digest))


async def delete_oldest_tokens(connection: WriteConnection, key_id: int, purpose: str, keep: int) -> None:
    """Leaves the newest so many of the key and purpose. The key must be locked."""
    older = (
        select(_TOKEN.c.digest)
        .where(_TOKEN.c.key_id == key_id, _TOKEN.c.purpose == purpose)
        .order_by(_TOKEN.c.created_at.desc(), _TOKEN.c.digest)
        .offset(keep)
    )
    await connection.execute(delete(_TOKEN).where(_TOKEN.c.digest.in_(older)))


async def delete_expired_tokens(connection: WriteConnection, now: datetime, limit: int) -> int:
    """How many were deleted: of those that expired first, at most `limit`."""
    expired = (
        select(_TOKEN.c.digest)
        .where(_TOKEN.c.expires_at <= now)
        .order_by(_TOKEN.c.expires_at)
        .limit(limit)
        # Another process may be deleting too.
        .with_for_update(skip_locked=True)
    )
    deleted = await connection.execute(delete(_TOKEN).where(_TOKEN.c.digest.in_(expired)))
    return deleted.rowcount
