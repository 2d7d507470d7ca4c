"""The statements of recording usage. All run in the caller's transaction; its accounts must be locked."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, Column, Select, TextualSelect, and_, bindparam, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db import tables
from db.statements import columns
from db.writes import upsert

DayKey = tuple[int, date, str, str, str]
RequestKey = tuple[int, bytes]
_Columns = tuple[Column[Any], ...]

# The numbers of keys that SQLite is asked for at once: it takes 32,766 parameters a statement, a key has at most five.
_SIZES = (1_000, 100, 10)


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


def _is_postgresql(connection: AsyncConnection) -> bool:
    return connection.dialect.name == "postgresql"


def _listed(key: _Columns) -> Any:
    """The keys as rows, each of their columns an array parameter (PostgreSQL): one text for any number of keys."""
    arrays = [bindparam(column.name, type_=ARRAY(column.type)) for column in key]
    names = [column.name for column in key]
    return func.unnest(*arrays).table_valued(*names, name="listed").render_derived()


def _arrays(key: _Columns, values: Collection[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {column.name: list(of_all) for column, of_all in zip(key, zip(*values, strict=True), strict=True)}


@lru_cache(maxsize=64)
def _sqlite_statement(result: _Columns, key: _Columns, size: int) -> TextualSelect:
    """Written out, since `(a, b) IN (VALUES …)` makes SQLite walk the whole table; CROSS JOIN keeps it to the keys."""
    table = result[0].table
    names = ", ".join(column.name for column in key)
    rows = ", ".join("(" + ", ".join(f":{column.name}_{row}" for column in key) + ")" for row in range(size))
    wanted = ", ".join(f"{table.name}.{column.name}" for column in result)
    statement = text(
        f"WITH listed ({names}) AS (VALUES {rows}) SELECT {wanted} FROM listed CROSS JOIN {table.name} USING ({names})"  # noqa: S608 - names of columns
    )
    typed = (bindparam(f"{column.name}_{row}", type_=column.type) for row in range(size) for column in key)
    return statement.bindparams(*typed).columns(*result)


def _portions(values: Collection[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """In a few sizes, so that few statements are built; the last is filled up with its last key."""
    ordered = sorted(values)
    while ordered:
        size = next((size for size in _SIZES if size <= len(ordered)), _SIZES[-1])
        portion, ordered = ordered[:size], ordered[size:]
        yield portion + portion[-1:] * (size - len(portion))


@lru_cache(maxsize=64)
def _postgresql_statement(result: _Columns, key: _Columns) -> Select[Any]:
    listed = _listed(key)
    return select(*result).join_from(
        listed, result[0].table, and_(*(column == listed.c[column.name] for column in key))
    )


async def _rows_with_keys(
    connection: AsyncConnection, result: _Columns, key: _Columns, values: Collection[tuple[Any, ...]]
) -> list[Any]:
    if not values:
        return []
    if _is_postgresql(connection):
        return list(await connection.execute(_postgresql_statement(result, key), _arrays(key, values)))
    found: list[Any] = []
    for portion in _portions(values):
        parameters = {
            f"{column.name}_{row}": value
            for row, one in enumerate(portion)
            for column, value in zip(key, one, strict=True)
        }
        found += await connection.execute(_sqlite_statement(result, key, len(portion)), parameters)
    return found


async def usage_days(connection: AsyncConnection, keys: Collection[DayKey]) -> dict[DayKey, FedDayRow]:
    table = tables.usage_days
    rows = await _rows_with_keys(connection, tuple(columns(table, FedDayRow)), tuple(table.primary_key), keys)
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
    rows = await _rows_with_keys(connection, key, key, keys)
    return {(row[0], bytes(row[1])) for row in rows}


async def insert_requests(connection: AsyncConnection, keys: Collection[RequestKey]) -> None:
    if not keys:
        return
    table = tables.usage_requests
    key = table.c.account_id, table.c.digest
    if _is_postgresql(connection):
        listed = _listed(key)
        statement = insert(table).from_select(["account_id", "digest"], select(listed.c.account_id, listed.c.digest))
        await connection.execute(statement, _arrays(key, keys))
    else:
        await connection.execute(
            insert(table), [{"account_id": account_id, "digest": digest} for account_id, digest in sorted(keys)]
        )


async def existing_accounts(connection: AsyncConnection, account_ids: Collection[int]) -> set[int]:
    """Without locking them: locks are taken once for all accounts of a batch, in the order of their ids."""
    key = (tables.accounts.c.id,)
    rows = await _rows_with_keys(connection, key, key, [(account_id,) for account_id in account_ids])
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
