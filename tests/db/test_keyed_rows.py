from __future__ import annotations

import pytest
from sqlalchemy import Table, text

from db import keyed_rows, tables
from db.database import Database


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "table",
    [tables.charges, tables.holds, tables.idempotency_keys, tables.usage_days, tables.usage_requests],
    ids=lambda table: table.name,
)
async def test_rows_are_found_through_the_primary_key(database: Database, table: Table) -> None:
    key = tuple(table.primary_key)
    statement = str(keyed_rows._sqlite_statement(key, key, 10))
    names = {f"{column.name}_{row}": None for row in range(10) for column in key}
    plan = await database.read(text("EXPLAIN QUERY PLAN " + statement), names)
    assert [row[-1] for row in plan if table.name in row[-1] and "PRIMARY KEY" not in row[-1]] == []
    assert any("SEARCH" in row[-1] for row in plan)
