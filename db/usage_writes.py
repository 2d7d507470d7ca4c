"""Statements that record usage. All run in the caller's transaction. Its accounts must be locked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Self

from sqlalchemy import BigInteger, bindparam, delete, insert, select
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
from db.folding import folded_column
from db.hours import HOURS_A_DAY, first_hour
from db.keyed_rows import is_postgresql, key_arrays, listed_keys, rows_with_keys
from db.rows import DayKey, UsageDayRow, UsageFigures
from db.shards import with_id
from db.writes import add_figures, upsert

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
    await add_figures(connection, attribution_tables.usage_hours, hours, USAGE_HOUR_FIGURES)
    if prices:
        known = upsert(connection, attribution_tables.usage_prices).on_conflict_do_nothing()
        await connection.execute(known, [row._asdict() for row in prices])
    if details:
        await connection.execute(insert(attribution_tables.request_details), [row._asdict() for row in details])


async def add_cost_hours(connection: AsyncConnection, hours: Collection[CostHourRow]) -> None:
    await add_figures(connection, attribution_tables.cost_hours, hours, COST_HOUR_FIGURES)


async def delete_usage_hours(connection: AsyncConnection, days: Collection[DayKey]) -> None:
    """Deletes the hours of days that a rollup replaces."""
    if days:
        await connection.execute(
            _DELETE_HOURS,
            [
                dict(zip(_OF_DAY, (account_id, first := first_hour(day), first + HOURS_A_DAY, *kind), strict=True))
                for account_id, day, *kind in days
            ],
        )


_OF_DAY: Final = ("of_account", "first_hour", "end_hour", "of_model", "of_category", "of_origin")
_HOUR: Final = attribution_tables.usage_hours.c
_DELETE_HOURS: Final = delete(attribution_tables.usage_hours).where(
    _HOUR.account_id == bindparam("of_account"),
    _HOUR.hour >= bindparam("first_hour", type_=BigInteger()),
    _HOUR.hour < bindparam("end_hour", type_=BigInteger()),
    _HOUR.model == bindparam("of_model"),
    _HOUR.category == bindparam("of_category"),
    _HOUR.origin == bindparam("of_origin"),
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
    given_id = with_id(connection, tables.accounts.c.id)
    if given_id:
        statement = statement.values(given_id)
    await connection.execute(statement, [_named(name, created_at) for name in sorted(external_ids)])


def _named(external_id: str, created_at: datetime) -> dict[str, Any]:
    """Returns the columns of an account whose name is its external id."""
    folded = folded_column(external_id)
    return {
        "external_id": external_id,
        "name": external_id,
        "created_at": created_at,
        "external_id_folded": folded,
        "name_folded": folded,
    }
