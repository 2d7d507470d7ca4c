"""Spend limits: reads them for queries, and their settings for changes. Posting reads them by `db.limits`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select

from db import limits
from db.attribution_tables import cost_hours
from db.connections.snapshots import Read, Rows, Wanted
from db.database import WriteConnection
from db.keyed_rows import is_postgresql, read_with_keys
from db.limit_rows import ReservedRow, SpendLimitRow
from db.limit_tables import spend_limits
from db.statements import columns, exact_sum, exact_sums
from db.writes import upsert

_LIMIT: Final = spend_limits
_COLUMNS: Final = tuple(columns(_LIMIT, SpendLimitRow))
_COST: Final = cost_hours

LimitKey = tuple[int, int]
"""Account and number."""


async def limit_with_number(connection: WriteConnection, key: LimitKey) -> SpendLimitRow | None:
    statement = select(*_COLUMNS).where(_LIMIT.c.account_id == key[0], _LIMIT.c.number == key[1])
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else SpendLimitRow._make(row)


async def newest_limit_of_scope(
    connection: WriteConnection, account_id: int, api_key: str, project: str, window_kind: str
) -> SpendLimitRow | None:
    """Returns the limit in force of this scope and window, or else the one that was deleted last."""
    scope = {"account_id": account_id, "api_key": api_key, "project": project, "window_kind": window_kind}
    is_it = [_LIMIT.c[name] == value for name, value in scope.items()]
    row = (await connection.execute(select(*_COLUMNS).where(*is_it).order_by(_LIMIT.c.number.desc()).limit(1))).first()
    return None if row is None else SpendLimitRow._make(row)


async def last_number(connection: WriteConnection, account_id: int) -> int:
    """Returns the highest number of the account's limits, including deleted ones; 0 if it never had one."""
    statement = select(func.coalesce(func.max(_LIMIT.c.number), 0)).where(_LIMIT.c.account_id == account_id)
    return int((await connection.execute(statement)).scalar_one())


async def put_limit(connection: WriteConnection, row: SpendLimitRow) -> None:
    """Writes the limit. The account must be locked."""
    statement = upsert(connection, _LIMIT).values(**row._asdict())
    changing = {name: statement.excluded[name] for name in SpendLimitRow._fields[2:]}
    await connection.execute(statement.on_conflict_do_update(index_elements=["account_id", "number"], set_=changing))


async def spent_since(
    connection: WriteConnection, account_id: int, hour: int, *, api_key: str = "", project: str = ""
) -> int:
    """Returns the net cost from the hour on, in nano-dollars. An empty API key or project means all of them."""
    postgresql = is_postgresql(connection)
    sums = [
        part for name in ("gross_nanos", "refunded_nanos") for part in exact_sum(_COST.c[name], postgresql=postgresql)
    ]
    named = {"api_key": api_key, "project": project}
    narrowed = [_COST.c[name] == value for name, value in named.items() if value]
    statement = select(*sums).where(_COST.c.account_id == account_id, _COST.c.hour >= hour, *narrowed)
    row = (await connection.execute(statement)).one()
    gross_nanos, refunded_nanos = exact_sums(row, postgresql=postgresql)
    return gross_nanos - refunded_nanos


def limits_of_each(postgresql: bool, account_ids: Sequence[int]) -> Read[dict[int, list[SpendLimitRow]]]:
    """Reads the limits in force of each account, in the order of their numbers."""

    def of_each(found: Sequence[Rows]) -> dict[int, list[SpendLimitRow]]:
        of_accounts: dict[int, list[SpendLimitRow]] = {account_id: [] for account_id in account_ids}
        for row in sorted(map(SpendLimitRow._make, found[0])):
            of_accounts[row.account_id].append(row)
        return of_accounts

    statement = limits.limits_in_force(postgresql=postgresql)
    return Read((Wanted(statement, {"account_ids": list(account_ids)}),), of_each)


def limits_by_number(postgresql: bool, keys: Collection[LimitKey]) -> Read[dict[LimitKey, SpendLimitRow]]:
    """Reads limits, including deleted ones."""

    def by_number(rows: Iterable[Any]) -> dict[LimitKey, SpendLimitRow]:
        return {(row[0], row[1]): SpendLimitRow._make(row) for row in rows}

    return read_with_keys(_COLUMNS, tuple(_LIMIT.primary_key), set(keys), by_number, postgresql=postgresql)


def reserved_of_each(
    postgresql: bool, account_ids: Sequence[int], now: datetime
) -> Read[dict[int, Sequence[ReservedRow]]]:
    """Reads what is reserved at this time, by API key and project."""
    wanted = Wanted(limits.reserved(postgresql=postgresql), {"account_ids": list(account_ids), "now": now})
    return Read((wanted,), lambda found: limits.reservations(account_ids, found[0]))
