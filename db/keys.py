"""Stored API keys. A key is found by the digest of its secret, never by its account."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, func, insert, or_, select, update

from db import tables
from db.connections.snapshots import Read, Rows
from db.database import Database, WriteConnection
from db.filters import KeyFilter, Window
from db.rows import ApiKeyRow
from db.shards import with_id
from db.statements import THE_ACCOUNT, columns, counts_of_each, for_each_account, is_one_of, read_each
from db.tables import timestamp

_KEY = tables.api_keys
_ACCOUNT = tables.accounts
_HEAD_SEQ = select(_ACCOUNT.c.head_seq).where(_ACCOUNT.c.id == _KEY.c.account_id).scalar_subquery()
_IS_HERE = _KEY.c.shard.is_(None)
"""The key was not moved away with its account."""
_BY_DIGEST = select(*columns(_KEY, ApiKeyRow), _HEAD_SEQ, _KEY.c.shard).where(_KEY.c.digest == bindparam("digest"))
_BY_ID = select(*columns(_KEY, ApiKeyRow)).where(_KEY.c.id == bindparam("key_id", type_=BigInteger()), _IS_HERE)
_BY_PREFIX = select(_KEY.c.account_id, _KEY.c.shard).where(_KEY.c.prefix == bindparam("prefix"))


class KeyElsewhere(Exception):
    """The key is on another shard, with its account."""

    def __init__(self, account_id: int) -> None:
        super().__init__(account_id)
        self.account_id = account_id


async def key_by_digest(database: Database, digest: bytes) -> tuple[ApiKeyRow, int] | None:
    """Returns the key, and the number of ledger rows of its account: 0 if it has no account of its own. Raises
    KeyElsewhere."""
    rows = await database.read(_BY_DIGEST, {"digest": digest})
    if not rows:
        return None
    *columns_of_key, account_rows, shard = rows[0]
    row = ApiKeyRow._make(columns_of_key)
    if shard is not None:
        assert row.account_id is not None, "only keys of accounts are moved"
        raise KeyElsewhere(row.account_id)
    return row, account_rows or 0


async def key_by_prefix(connection: WriteConnection, prefix: str) -> ApiKeyRow | None:
    """Returns the key, locked until the transaction ends."""
    statement = select(*columns(_KEY, ApiKeyRow)).where(_KEY.c.prefix == prefix, _IS_HERE).with_for_update()
    row = (await connection.execute(statement)).first()
    return ApiKeyRow._make(row) if row else None


async def key_by_id(connection: WriteConnection, key_id: int, *, lock: bool = True) -> ApiKeyRow | None:
    """Returns the key, locked until the transaction ends if `lock` is true."""
    statement = select(*columns(_KEY, ApiKeyRow)).where(_KEY.c.id == key_id, _IS_HERE)
    if lock:
        statement = statement.with_for_update(key_share=True)
    row = (await connection.execute(statement)).first()
    return ApiKeyRow._make(row) if row else None


async def read_key(database: Database, key_id: int) -> ApiKeyRow | None:
    """Returns the key, outside a transaction."""
    rows = await database.read(_BY_ID, {"key_id": key_id})
    return ApiKeyRow._make(rows[0]) if rows else None


async def has_key(database: Database, prefix: str) -> bool:
    """Returns whether the database has a key with this prefix. Raises KeyElsewhere."""
    rows = await database.read(_BY_PREFIX, {"prefix": prefix})
    if rows and rows[0][1] is not None:
        raise KeyElsewhere(rows[0][0])
    return bool(rows)


async def valid_key_ids(database: Database, key_ids: Collection[int], now: datetime) -> set[int]:
    """Returns the keys that are neither revoked nor expired."""
    statement = _VALID[database.is_postgresql]
    return {row[0] for row in await database.read(statement, {"key_ids": list(key_ids), "moment": now})}


def _valid_statement(*, postgresql: bool) -> Select[Any]:
    unexpired = or_(_KEY.c.expires_at.is_(None), _KEY.c.expires_at > bindparam("moment", type_=timestamp()))
    listed = is_one_of(_KEY.c.id, "key_ids", postgresql=postgresql)
    return select(_KEY.c.id).where(listed, _KEY.c.revoked_at.is_(None), unexpired, _IS_HERE)


_VALID = {postgresql: _valid_statement(postgresql=postgresql) for postgresql in (False, True)}


async def all_keys(database: Database, account_id: int | None = None) -> list[ApiKeyRow]:
    statement = select(*columns(_KEY, ApiKeyRow)).where(_IS_HERE).order_by(_KEY.c.id)
    if account_id is not None:
        statement = statement.where(_KEY.c.account_id == account_id)
    return [ApiKeyRow._make(row) for row in await database.read(statement)]


async def valid_key_count(connection: WriteConnection, account_id: int, now: datetime, *, sessions: bool) -> int:
    """Returns the number of the account's valid sessions, or of its other valid keys."""
    unexpired = or_(_KEY.c.expires_at.is_(None), _KEY.c.expires_at > now)
    kind = _KEY.c.session_of.is_not(None) if sessions else _KEY.c.session_of.is_(None)
    chosen = (_KEY.c.account_id == account_id, _KEY.c.revoked_at.is_(None), unexpired, kind)
    return int((await connection.execute(select(func.count()).where(*chosen))).scalar_one())


def _of_account(statement: Select[Any], account: ColumnElement[int], sessions: bool | None) -> Select[Any]:
    statement = statement.where(_KEY.c.account_id == account)
    if sessions is None:
        return statement
    return statement.where(_KEY.c.session_of.is_not(None) if sessions else _KEY.c.session_of.is_(None))


def _page(account: ColumnElement[int], after: bool, sessions: bool | None) -> Select[Any]:
    statement = _of_account(select(account.label("of"), *columns(_KEY, ApiKeyRow)), account, sessions)
    if after:
        statement = statement.where(_KEY.c.id < bindparam("after", type_=BigInteger()))
    return statement.order_by(_KEY.c.id.desc()).limit(bindparam("rows", type_=BigInteger()))


def _count(account: ColumnElement[int], _after: bool, sessions: bool | None) -> Select[Any]:
    counted: list[Any] = [account.label("of"), func.count(_KEY.c.id)]
    return _of_account(select(*counted), account, sessions)


@lru_cache(maxsize=18)
def _statements(
    postgresql: bool, count: bool, after: bool, row_filter: KeyFilter | None
) -> tuple[Select[Any], Select[Any] | None]:
    build = _count if count else _page
    sessions = None if row_filter is None else row_filter.sessions
    one = build(bindparam(THE_ACCOUNT, type_=BigInteger()), after, sessions)
    return one, for_each_account(lambda account: build(account, after, sessions)) if postgresql else None


def key_pages(
    postgresql: bool, account_ids: Sequence[int], asked: tuple[KeyFilter | None, Window]
) -> Read[dict[int, list[ApiKeyRow]]]:
    """Reads up to `window.limit` keys per account, newest first."""
    row_filter, window = asked
    one, each = _statements(postgresql, count=False, after=window.after is not None, row_filter=row_filter)
    parameters = {"rows": window.limit} | ({} if window.after is None else {"after": window.after})

    def pages(found: Mapping[int, Rows]) -> dict[int, list[ApiKeyRow]]:
        return {account_id: [ApiKeyRow._make(row[1:]) for row in rows] for account_id, rows in found.items()}

    return read_each(account_ids, parameters, pages, one=one, each=each)


def key_counts(postgresql: bool, account_ids: Sequence[int], row_filter: KeyFilter | None) -> Read[dict[int, int]]:
    one, each = _statements(postgresql, count=True, after=False, row_filter=row_filter)
    return read_each(account_ids, {}, counts_of_each, one=one, each=each)


async def insert_key(connection: WriteConnection, values: Mapping[str, Any]) -> ApiKeyRow:
    statement = insert(_KEY).values(**values, **with_id(connection, _KEY.c.id)).returning(*columns(_KEY, ApiKeyRow))
    return ApiKeyRow._make((await connection.execute(statement)).one())


async def update_key(connection: WriteConnection, key_id: int, values: Mapping[str, Any]) -> None:
    await connection.execute(update(_KEY).where(_KEY.c.id == key_id).values(**values))


async def end_sessions(
    connection: WriteConnection, key_id: int, *, revoked_at: datetime | None = None, expires_at: datetime | None = None
) -> None:
    """Revokes the sessions of the key that are not revoked yet, or has them expire at this time at the latest."""
    sessions = (_KEY.c.session_of == key_id, _KEY.c.revoked_at.is_(None))
    if revoked_at is not None:
        await connection.execute(update(_KEY).where(*sessions).values(revoked_at=revoked_at))
    if expires_at is not None:
        later = or_(_KEY.c.expires_at.is_(None), _KEY.c.expires_at > expires_at)
        await connection.execute(update(_KEY).where(*sessions, later).values(expires_at=expires_at))


async def touch_keys(connection: WriteConnection, used: Sequence[tuple[int, datetime, str | None]]) -> None:
    """Sets the keys' times and addresses of last use, unless a later time is stored."""
    at = bindparam("used_at", type_=timestamp())
    statement = (
        update(_KEY)
        .where(_KEY.c.id == bindparam("of_id"), or_(_KEY.c.last_used_at.is_(None), _KEY.c.last_used_at < at))
        .values(last_used_at=at, last_used_address=bindparam("used_address"))
    )
    rows = [{"of_id": key_id, "used_at": moment, "used_address": address} for key_id, moment, address in used]
    await connection.execute(statement, rows)
