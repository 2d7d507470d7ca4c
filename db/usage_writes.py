"""Statements that record usage. All run in the caller's transaction. Its accounts must be locked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

from sqlalchemy import Executable, Table, delete, insert, select
from sqlalchemy.dialects import postgresql as postgresql_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from db import attribution_tables, tables
from db.attribution_rows import (
    COST_HOUR_FIGURES,
    USAGE_HOUR_FIGURES,
    CostHourRow,
    RequestDetailRow,
    UsageHourRow,
    UsagePriceRow,
)
from db.attribution_tables import HOURS_A_DAY
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


async def put_usage(
    connection: AsyncConnection,
    hours: Collection[UsageHourRow],
    prices: Collection[UsagePriceRow],
    details: Collection[RequestDetailRow],
) -> None:
    """Adds to the hours, and stores new prices and requests in full."""
    await _add(connection, attribution_tables.usage_hours, hours, USAGE_HOUR_FIGURES)
    if prices:
        known = upsert(connection, attribution_tables.usage_prices).on_conflict_do_nothing()
        await connection.execute(known, [row._asdict() for row in prices])
    if details:
        await connection.execute(insert(attribution_tables.request_details), [row._asdict() for row in details])


async def add_cost_hours(connection: AsyncConnection, hours: Collection[CostHourRow]) -> None:
    await _add(connection, attribution_tables.cost_hours, hours, COST_HOUR_FIGURES)


async def _add(connection: AsyncConnection, table: Table, rows: Collection[NamedTuple], figures: Sequence[str]) -> None:
    """Adds each row's figures to those of the stored row with its key."""
    if rows:
        statement = _adding(is_postgresql(connection), table, tuple(figures))
        await connection.execute(statement, [row._asdict() for row in rows])


@lru_cache(maxsize=8)
def _adding(postgresql: bool, table: Table, figures: tuple[str, ...]) -> Executable:
    statement = postgresql_dialect.insert(table) if postgresql else sqlite_dialect.insert(table)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: table.c[name] + statement.excluded[name] for name in figures},
    )


async def delete_usage_hours(connection: AsyncConnection, days: Collection[DayKey]) -> None:
    """Deletes the hours of days that a rollup replaces."""
    table = attribution_tables.usage_hours
    for account_id, day, model, category, origin in days:
        first = (day - date(1970, 1, 1)).days * HOURS_A_DAY
        await connection.execute(
            delete(table).where(
                table.c.account_id == account_id,
                table.c.hour.between(first, first + HOURS_A_DAY - 1),
                table.c.model == model,
                table.c.category == category,
                table.c.origin == origin,
            )
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
