"""Statements that record usage. All run in the caller's transaction. Its accounts must be locked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Self

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db import tables
from db.keyed_rows import is_postgresql, key_arrays, listed_keys, rows_with_keys
from db.rows import DayKey, UsageDayRow, UsageFigures
from db.writes import upsert

RequestKey = tuple[int, bytes]


class FedDay(NamedTuple):
    """A usage day with what it is fed by."""

    row: UsageDayRow
    fed_by: str

    @property
    def columns(self) -> tuple[Any, ...]:
        return *self.row, self.fed_by

    @classmethod
    def of_columns(cls, columns: Sequence[Any]) -> Self:
        return cls(UsageDayRow._make(columns[:-1]), columns[-1])


FED_DAY_COLUMNS: Final = (*UsageDayRow._fields, "fed_by")
CHANGING_OF_DAYS: Final = (*UsageFigures._fields, "fed_by")


async def usage_days(connection: AsyncConnection, keys: Collection[DayKey]) -> dict[DayKey, FedDay]:
    table = tables.usage_days
    found = tuple(table.c[name] for name in FED_DAY_COLUMNS)
    days = map(FedDay.of_columns, await rows_with_keys(connection, found, tuple(table.primary_key), keys))
    return {day.row.key: day for day in days}


async def put_usage_days(connection: AsyncConnection, days: Collection[FedDay]) -> None:
    if not days:
        return
    table = tables.usage_days
    statement = upsert(connection, table)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={name: statement.excluded[name] for name in CHANGING_OF_DAYS},
        ),
        [dict(zip(FED_DAY_COLUMNS, day.columns, strict=True)) for day in days],
    )


async def known_requests(connection: AsyncConnection, keys: Collection[RequestKey]) -> set[RequestKey]:
    table = tables.usage_requests
    key = table.c.account_id, table.c.digest
    rows = await rows_with_keys(connection, key, key, keys)
    return {(row[0], bytes(row[1])) for row in rows}


async def insert_requests(connection: AsyncConnection, keys: Collection[RequestKey]) -> None:
    if not keys:
        return
    table = tables.usage_requests
    key = table.c.account_id, table.c.digest
    if is_postgresql(connection):
        listed = listed_keys(key)
        statement = insert(table).from_select(["account_id", "digest"], select(listed.c.account_id, listed.c.digest))
        await connection.execute(statement, key_arrays(key, keys))
    else:
        await connection.execute(
            insert(table), [{"account_id": account_id, "digest": digest} for account_id, digest in sorted(keys)]
        )


async def existing_accounts(connection: AsyncConnection, account_ids: Collection[int]) -> set[int]:
    """Returns the accounts that exist. Locks nothing: all accounts of a batch are locked at once, in the order of their
    ids."""
    key = (tables.accounts.c.id,)
    rows = await rows_with_keys(connection, key, key, [(account_id,) for account_id in account_ids])
    return {row[0] for row in rows}


async def create_accounts(connection: AsyncConnection, external_ids: Collection[str], created_at: datetime) -> None:
    """Creates accounts. Accounts that another transaction created in the meantime are left unchanged."""
    if not external_ids:
        return
    statement = upsert(connection, tables.accounts).on_conflict_do_nothing(index_elements=["external_id"])
    await connection.execute(
        statement,
        [{"external_id": name, "name": name, "created_at": created_at} for name in sorted(external_ids)],
    )
