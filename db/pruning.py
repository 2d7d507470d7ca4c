"""Pruning: finds and deletes rows that are kept for a limited time, in steps of limited size.

Each statement reads one account's rows along the primary key, from the oldest on, or the first row of each of some
accounts. So no statement grows with the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Delete,
    LargeBinary,
    Select,
    Table,
    bindparam,
    delete,
    func,
    select,
    tuple_,
)

from db import tables
from db.attribution_tables import request_details
from db.database import Database, WriteConnection
from db.limit_tables import authorizations

_ACCOUNT: Final = tables.accounts
_DETAIL: Final = request_details
_AUTHORIZATION: Final = authorizations

_ID: Final = bindparam("account_id", type_=BigInteger())
_CUTOFF: Final = bindparam("cutoff", type_=tables.timestamp())
_AFTER: Final = bindparam("after", type_=BigInteger())
_ROWS: Final = bindparam("rows", type_=BigInteger())


def _first(table: Table, value: ColumnElement[Any], *order: ColumnElement[Any]) -> ColumnElement[Any]:
    """Selects a value of the first row of each account. As a subquery for a column, it is planned by the index."""
    first = select(value).where(table.c.account_id == _ACCOUNT.c.id).order_by(*order).limit(1)
    return first.correlate(_ACCOUNT).scalar_subquery()


_OLDEST: Final = (
    select(
        _ACCOUNT.c.id,
        _first(_DETAIL, _DETAIL.c.at, _DETAIL.c.at),
        _first(_AUTHORIZATION, _AUTHORIZATION.c.created_at, _AUTHORIZATION.c.number),
    )
    .where(_ACCOUNT.c.id > _AFTER)
    .order_by(_ACCOUNT.c.id)
    .limit(_ROWS)
)


class OldestRow(NamedTuple):
    """The times of the oldest rows of an account; None if it has none."""

    account_id: int
    request_at: datetime | None
    authorized_at: datetime | None


async def oldest_rows(database: Database, after: int, limit: int) -> list[OldestRow]:
    """Reads up to `limit` accounts after an id, in the order of their ids."""
    return [OldestRow._make(row) for row in await database.read(_OLDEST, {"after": after, "rows": limit})]


_OLD_DETAILS: Final = (
    select(_DETAIL.c.at, _DETAIL.c.digest)
    .where(_DETAIL.c.account_id == _ID, _DETAIL.c.at < _CUTOFF)
    .order_by(_DETAIL.c.at, _DETAIL.c.digest)
    .limit(_ROWS)
)
_DELETE_DETAILS: Final = delete(_DETAIL).where(
    _DETAIL.c.account_id == _ID,
    tuple_(_DETAIL.c.at, _DETAIL.c.digest)
    <= tuple_(bindparam("last_at", type_=tables.timestamp()), bindparam("last_digest", type_=LargeBinary())),
)


async def delete_details(connection: WriteConnection, account_id: int, cutoff: datetime, limit: int) -> int:
    """Deletes at most `limit` of the account's requests from before the cutoff, oldest first. Returns how many."""
    found = await connection.execute(_OLD_DETAILS, {"account_id": account_id, "cutoff": cutoff, "rows": limit})
    old = found.all()
    if old:
        last_at, last_digest = old[-1]
        await connection.execute(
            _DELETE_DETAILS, {"account_id": account_id, "last_at": last_at, "last_digest": last_digest}
        )
    return len(old)


_NEXT_AUTHORIZATIONS: Final[Select[Any]] = (
    select(_AUTHORIZATION.c.number, _AUTHORIZATION.c.created_at)
    .where(_AUTHORIZATION.c.account_id == _ID, _AUTHORIZATION.c.number > _AFTER)
    .order_by(_AUTHORIZATION.c.number)
    .limit(_ROWS)
)
_HIGHEST: Final = select(func.max(_AUTHORIZATION.c.number)).where(_AUTHORIZATION.c.account_id == _ID).scalar_subquery()
_DELETE_AUTHORIZATIONS: Final[Delete] = delete(_AUTHORIZATION).where(
    _AUTHORIZATION.c.account_id == _ID,
    _AUTHORIZATION.c.number > _AFTER,
    _AUTHORIZATION.c.number <= bindparam("last", type_=BigInteger()),
    _AUTHORIZATION.c.number < _HIGHEST,
    _AUTHORIZATION.c.expires_at < _CUTOFF,
    func.coalesce(_AUTHORIZATION.c.closed_at, _AUTHORIZATION.c.expires_at) < _CUTOFF,
)


class AuthorizationStep(NamedTuple):
    deleted: int
    last: int | None
    """The number after which the next step begins; None after the last step."""


async def delete_authorizations(
    connection: WriteConnection, account_id: int, after: int, cutoff: datetime, limit: int
) -> AuthorizationStep:
    """Looks at the next `limit` authorizations of the account and deletes those that ended before the cutoff.

    The one with the highest number is never deleted, because the next number follows from it.
    """
    of_account = {"account_id": account_id, "after": after}
    rows: Sequence[Any] = (await connection.execute(_NEXT_AUTHORIZATIONS, {**of_account, "rows": limit})).all()
    if not rows:
        return AuthorizationStep(0, None)
    last, created_at = rows[-1]
    deleted = await connection.execute(_DELETE_AUTHORIZATIONS, {**of_account, "cutoff": cutoff, "last": last})
    goes_on = len(rows) == limit and created_at < cutoff
    return AuthorizationStep(deleted.rowcount, last if goes_on else None)
