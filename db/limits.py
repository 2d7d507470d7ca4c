"""Limits: reads spend limits and authorizations for posting."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Select, String, bindparam, case, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db.keyed_rows import is_postgresql, rows_with_keys
from db.limit_rows import AuthorizationRow, ReservedRow, SpendLimitRow
from db.limit_tables import authorizations, spend_limits
from db.statements import columns, is_one_of
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


@lru_cache(maxsize=2)
def highest_numbers(*, postgresql: bool) -> Select[Any]:
    """Returns the statement for the number of each account's newest authorization."""
    row = _AUTHORIZATION
    of_accounts = is_one_of(row.c.account_id, "account_ids", postgresql=postgresql)
    return select(row.c.account_id, func.max(row.c.number)).where(of_accounts).group_by(row.c.account_id)


class Reservations(NamedTuple):
    reserved: dict[int, Sequence[ReservedRow]]
    highest_numbers: dict[int, int]


def reservations(
    account_ids: Collection[int], reserved: Iterable[Sequence[Any]], highest: Iterable[Sequence[Any]]
) -> Reservations:
    """Sorts the rows of both statements by account."""
    of_each: dict[int, list[ReservedRow]] = {account_id: [] for account_id in account_ids}
    for account_id, *row in reserved:
        of_each[account_id].append(ReservedRow._make(row))
    return Reservations(dict(of_each), {row[0]: row[1] for row in highest})


async def read_limits(connection: AsyncConnection, account_ids: Collection[int]) -> list[SpendLimitRow]:
    statement = limits_in_force(postgresql=is_postgresql(connection))
    return [
        SpendLimitRow._make(row) for row in await connection.execute(statement, {"account_ids": sorted(account_ids)})
    ]


async def read_reservations(connection: AsyncConnection, account_ids: Collection[int], now: datetime) -> Reservations:
    """Reads what is reserved at the moment, and the newest numbers."""
    postgresql, listed = is_postgresql(connection), sorted(account_ids)
    rows = await connection.execute(reserved(postgresql=postgresql), {"account_ids": listed, "now": now})
    highest = await connection.execute(highest_numbers(postgresql=postgresql), {"account_ids": listed})
    return reservations(listed, rows, highest)


async def read_authorizations(connection: AsyncConnection, keys: Collection[tuple[int, int]]) -> list[AuthorizationRow]:
    """Reads authorizations by account and number."""
    row = _AUTHORIZATION
    found = await rows_with_keys(connection, tuple(columns(row, AuthorizationRow)), tuple(row.primary_key), keys)
    return [AuthorizationRow._make(one) for one in found]
