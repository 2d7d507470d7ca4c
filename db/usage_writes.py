"""The statements of recording usage. All run in the caller's transaction; its accounts must be locked."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db import tables
from db.keyed_rows import is_postgresql, key_arrays, listed_keys, rows_with_keys
from db.statements import columns
from db.writes import upsert

DayKey = tuple[int, date, str, str, str]
RequestKey = tuple[int, bytes]


class FedDayRow(NamedTuple):
    """A usage day with what it is fed by: its first five columns are its key, the next four its figures."""

    account_id: int
    day: date
    model: str
    category: str
    origin: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_nanos: int
    fed_by: str


async def usage_days(connection: AsyncConnection, keys: Collection[DayKey]) -> dict[DayKey, FedDayRow]:
    table = tables.usage_days
    rows = await rows_with_keys(connection, tuple(columns(table, FedDayRow)), tuple(table.primary_key), keys)
    return {tuple(row[:5]): FedDayRow._make(row) for row in rows}


async def put_usage_days(connection: AsyncConnection, rows: Collection[FedDayRow]) -> None:
    if not rows:
        return
    table = tables.usage_days
    statement = upsert(connection, table)
    figures = ("calls", "input_tokens", "output_tokens", "cost_nanos", "fed_by")
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={name: statement.excluded[name] for name in figures},
        ),
        [row._asdict() for row in rows],
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
    """Without locking them: locks are taken once for all accounts of a batch, in the order of their ids."""
    key = (tables.accounts.c.id,)
    rows = await rows_with_keys(connection, key, key, [(account_id,) for account_id in account_ids])
    return {row[0] for row in rows}


async def create_accounts(connection: AsyncConnection, external_ids: Collection[str], created_at: datetime) -> None:
    """Those that another transaction has created in the meantime are left as they are."""
    if not external_ids:
        return
    statement = upsert(connection, tables.accounts).on_conflict_do_nothing(index_elements=["external_id"])
    await connection.execute(
        statement,
        [{"external_id": name, "name": name, "created_at": created_at} for name in sorted(external_ids)],
    )
