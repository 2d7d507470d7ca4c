"""Keyed rows: reads rows by many keys at once, through the primary key on both databases."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import lru_cache
from itertools import chain
from typing import Any, TypeVar

from sqlalchemy import ARRAY, Column, Executable, Select, TextualSelect, and_, bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.connections.snapshots import Past, Read, Wanted

_Columns = tuple[Column[Any], ...]
Found = TypeVar("Found")

# Numbers of keys per SQLite statement. SQLite allows 32,766 parameters per statement, and a key has at most five.
_SIZES = (1_000, 100, 10)


def is_postgresql(connection: AsyncConnection) -> bool:
    return connection.dialect.name == "postgresql"


def listed_keys(key: _Columns) -> Any:
    """Returns the keys as rows, from one array parameter per column, so that the text is the same for any number of
    keys. PostgreSQL only."""
    arrays = [bindparam(column.name, type_=ARRAY(column.type)) for column in key]
    names = [column.name for column in key]
    return func.unnest(*arrays).table_valued(*names, name="listed").render_derived()


def key_arrays(key: _Columns, values: Collection[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {column.name: list(of_all) for column, of_all in zip(key, zip(*values, strict=True), strict=True)}


@lru_cache(maxsize=64)
def _sqlite_statement(result: _Columns, key: _Columns, size: int) -> TextualSelect:
    """Returns the statement for SQLite. It is written as text, because `(a, b) IN (VALUES …)` scans the whole table in
    SQLite; CROSS JOIN reads only the keys."""
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
    """Splits the values into a few sizes, so that few statements are built. Pads the last portion with its last key."""
    ordered = sorted(values)
    while ordered:
        size = next((size for size in _SIZES if size <= len(ordered)), _SIZES[-1])
        portion, ordered = ordered[:size], ordered[size:]
        yield portion + portion[-1:] * (size - len(portion))


@lru_cache(maxsize=64)
def keyed_statement(result: _Columns, key: _Columns) -> Select[Any]:
    """Returns the statement for PostgreSQL. Its parameters come from `key_arrays`."""
    listed = listed_keys(key)
    return select(*result).join_from(
        listed, result[0].table, and_(*(column == listed.c[column.name] for column in key))
    )


def _reads(
    result: _Columns, key: _Columns, values: Collection[tuple[Any, ...]], *, postgresql: bool
) -> Iterator[tuple[Executable, dict[str, Any]]]:
    """Yields the statements and parameters that together find the rows."""
    if not values:
        return
    if postgresql:
        yield keyed_statement(result, key), key_arrays(key, values)
        return
    for portion in _portions(values):
        parameters = {
            f"{column.name}_{row}": value
            for row, one in enumerate(portion)
            for column, value in zip(key, one, strict=True)
        }
        yield _sqlite_statement(result, key, len(portion)), parameters


async def rows_with_keys(
    connection: AsyncConnection, result: _Columns, key: _Columns, values: Collection[tuple[Any, ...]]
) -> list[Any]:
    found: list[Any] = []
    for statement, parameters in _reads(result, key, values, postgresql=is_postgresql(connection)):
        found += await connection.execute(statement, parameters)
    return found


def read_with_keys(
    result: _Columns,
    key: _Columns,
    values: Collection[tuple[Any, ...]],
    made: Callable[[Iterable[Any]], Found],
    *,
    postgresql: bool,
    immutable: bool = False,
    past: Past[Found] | None = None,
) -> Read[Found]:
    """Returns a read of the rows with these keys. `made` computes its result from the rows, `past` adds archived
    ledger rows."""
    found = _reads(result, key, values, postgresql=postgresql)
    wanted = [Wanted(statement, parameters, immutable) for statement, parameters in found]
    return Read(wanted, lambda of_each: made(chain.from_iterable(of_each)), past)
