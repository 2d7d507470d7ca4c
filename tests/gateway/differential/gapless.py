"""Numbers without gaps on PostgreSQL, as SQLite has them.

A sequence gives a number away for good: what is rolled back or found to be there already leaves a gap, which no
contract forbids, and all later ids would differ.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from db import tables
from db.database import Database

_NUMBERED: Final = [
    (table.name, column.name)
    for table in tables.metadata.sorted_tables
    for column in table.primary_key
    if column.autoincrement is True
]
_FUNCTION: Final = """
    CREATE FUNCTION next_number(of text) RETURNS bigint LANGUAGE sql VOLATILE AS $$
        UPDATE numbers SET value = value + 1 WHERE name = of RETURNING value
    $$
"""
_NEWEST: Final = " UNION ALL ".join(
    f"SELECT '{name}', coalesce(max({column}), 0) FROM {name}" for name, column in _NUMBERED
)
_GO_ON: Final = f"INSERT INTO numbers {_NEWEST} ON CONFLICT (name) DO UPDATE SET value = excluded.value"


async def number_without_gaps(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(text("CREATE TABLE numbers (name text PRIMARY KEY, value bigint)"))
        await connection.execute(text(_FUNCTION))
        for name, column in _NUMBERED:
            default = f"ALTER COLUMN {column} SET DEFAULT next_number('{name}')"
            await connection.execute(text(f"ALTER TABLE {name} {default}"))


async def go_on_from_newest(database: Database) -> None:
    """For before each call: an insert that finds its row there already uses a number up."""
    async with database.write() as connection:
        await connection.execute(text(_GO_ON))
