"""Stored tokens: found by the digest of the token, and always together with their key."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, delete, insert, select, update

from db import tables
from db.database import Database, WriteConnection
from db.keys import KeyElsewhere
from db.rows import ApiKeyRow, TokenRow
from db.statements import columns

_TOKEN = tables.tokens
_KEY = tables.api_keys
_WIDTH = len(TokenRow._fields)
_BY_DIGEST = (
    select(*columns(_TOKEN, TokenRow), *columns(_KEY, ApiKeyRow), _KEY.c.shard)
    .join(_KEY, _KEY.c.id == _TOKEN.c.key_id)
    .where(_TOKEN.c.digest == bindparam("digest"))
)


async def token_by_digest(database: Database, digest: bytes) -> tuple[TokenRow, ApiKeyRow] | None:
    """Returns the token with its key. Raises KeyElsewhere."""
    rows = await database.read(_BY_DIGEST, {"digest": digest})
    if not rows:
        return None
    token, key, shard = TokenRow._make(rows[0][:_WIDTH]), ApiKeyRow._make(rows[0][_WIDTH:-1]), rows[0][-1]
    if shard is not None:
        assert key.account_id is not None, "only keys of accounts are moved"
        raise KeyElsewhere(key.account_id)
    return token, key


async def insert_token(connection: WriteConnection, row: TokenRow) -> None:
    await connection.execute(insert(_TOKEN).values(**row._asdict()))


async def use_token(connection: WriteConnection, digest: bytes, now: datetime) -> bool:
    """Marks the token as used. Returns False if it was already used."""
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
    """Deletes all but the newest `keep` tokens of the key and purpose. The key must be locked."""
    older = (
        select(_TOKEN.c.digest)
        .where(_TOKEN.c.key_id == key_id, _TOKEN.c.purpose == purpose)
        .order_by(_TOKEN.c.created_at.desc(), _TOKEN.c.digest)
        .offset(keep)
    )
    await connection.execute(delete(_TOKEN).where(_TOKEN.c.digest.in_(older)))


async def delete_expired_tokens(connection: WriteConnection, now: datetime, limit: int) -> int:
    """Deletes at most `limit` expired tokens, earliest expiry first. Returns how many."""
    expired = (
        select(_TOKEN.c.digest)
        .where(_TOKEN.c.expires_at <= now)
        .order_by(_TOKEN.c.expires_at)
        .limit(limit)
        # Another process may be deleting tokens too.
        .with_for_update(skip_locked=True)
    )
    deleted = await connection.execute(delete(_TOKEN).where(_TOKEN.c.digest.in_(expired)))
    return deleted.rowcount
