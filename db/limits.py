"""Limits: reads spend limits and authorizations for posting."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, String, bindparam, case, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.keyed_rows import is_postgresql, rows_with_keys
from db.limit_rows import AuthorizationRow, NewestAuthorizationRow, ReservedRow, SpendLimitRow
from db.limit_tables import authorizations, spend_limits
from db.statements import THE_ACCOUNT, columns, for_each_account, is_one_of
from db.tables import timestamp

_AUTHORIZATION: Final = authorizations
_LIMIT: Final = spend_limits

CHANGING_OF_LIMITS: Final = ("spent_nanos", "window_start", "notified_percent")
CHANGING_OF_AUTHORIZATIONS: Final = ("state", "captured_nanos", "closed_at")


@lru_cache(maxsize=2)
def limits_in_force(*, postgresql: bool) -> Select[Any]:
    """Returns the statement for the limits of the accounts in `account_ids`."""
    of_accounts = is_one_of(_LIMIT.c.account_id, "account_ids", postgresql=postgresql)
    return select(*columns(_LIMIT, SpendLimitRow)).where(of_accounts, _LIMIT.c.deleted_at.is_(None))


def _nanos(amount: Any) -> Any:
    """Returns a sum of nano-dollars as a number of 64 bits. Reservations never exceed a balance."""
    return func.sum(amount).cast(BigInteger())


@lru_cache(maxsize=2)
def reserved(*, postgresql: bool) -> Select[Any]:
    """Returns the statement for what is reserved at the moment `now`, by account, API key and project."""
    row = _AUTHORIZATION
    left = row.c.amount_nanos - row.c.captured_nanos
    keys = (row.c.account_id, row.c.api_key, row.c.project)
    return (
        select(*keys, _nanos(case((left > 0, left), else_=0)))
        .where(
            is_one_of(row.c.account_id, "account_ids", postgresql=postgresql),
            row.c.state == literal_column("'open'", String()),
            row.c.expires_at > bindparam("now", type_=timestamp()),
        )
        .group_by(*keys)
    )


def _newest_of(account: ColumnElement[int]) -> Select[Any]:
    row = _AUTHORIZATION
    newest = select(*columns(row, NewestAuthorizationRow)).where(row.c.account_id == account)
    return newest.order_by(row.c.number.desc()).limit(1)


@lru_cache(maxsize=2)
def newest_authorizations(*, postgresql: bool) -> Select[Any]:
    """Returns the statement for the newest authorization of each account in `account_ids`. On SQLite, that of the
    account in `account_id`.

    It reads one row of each account. A maximum grouped by account would read all its authorizations.
    """
    return for_each_account(_newest_of) if postgresql else _newest_of(bindparam(THE_ACCOUNT, type_=BigInteger()))


def newest_by_account(rows: Iterable[Sequence[Any]]) -> dict[int, NewestAuthorizationRow]:
    return {row[0]: NewestAuthorizationRow._make(row) for row in rows}


def reservations(account_ids: Collection[int], rows: Iterable[Sequence[Any]]) -> dict[int, Sequence[ReservedRow]]:
    """Sorts the rows of the statement for what is reserved by account."""
    of_each: dict[int, list[ReservedRow]] = {account_id: [] for account_id in account_ids}
    for account_id, *row in rows:
        of_each[account_id].append(ReservedRow._make(row))
    return dict(of_each)


async def read_limits(connection: AsyncConnection, account_ids: Collection[int]) -> list[SpendLimitRow]:
    statement = limits_in_force(postgresql=is_postgresql(connection))
    return [
        SpendLimitRow._make(row) for row in await connection.execute(statement, {"account_ids": sorted(account_ids)})
    ]


async def read_reservations(
    connection: AsyncConnection, account_ids: Collection[int], now: datetime
) -> dict[int, Sequence[ReservedRow]]:
    """Reads what is reserved at the moment."""
    listed = sorted(account_ids)
    statement = reserved(postgresql=is_postgresql(connection))
    return reservations(listed, await connection.execute(statement, {"account_ids": listed, "now": now}))


async def newest_on_sqlite(
    connection: AsyncConnection, account_ids: Collection[int]
) -> dict[int, NewestAuthorizationRow]:
    """Reads the newest authorization of each account that has one. SQLite only."""
    statement = newest_authorizations(postgresql=False)
    found = [await connection.execute(statement, {THE_ACCOUNT: account_id}) for account_id in account_ids]
    return newest_by_account(row for rows in found for row in rows)


async def read_authorizations(connection: AsyncConnection, keys: Collection[tuple[int, int]]) -> list[AuthorizationRow]:
    """Reads authorizations by account and number."""
    row = _AUTHORIZATION
    found = await rows_with_keys(connection, tuple(columns(row, AuthorizationRow)), tuple(row.primary_key), keys)
    return [AuthorizationRow._make(one) for one in found]
