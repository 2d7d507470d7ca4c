from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Table, text
from sqlalchemy.dialects.postgresql import asyncpg

from db import keyed_rows, limits, tables
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


_MANY_AUTHORIZATIONS = """
    INSERT INTO authorizations
        (account_id, number, state, amount_nanos, captured_nanos, created_at, expires_at, api_key, project)
    SELECT 1, number, 'captured', 1, 1, now(), now(), '', '' FROM generate_series(1, 5000) AS numbers (number)
"""


def _rows_read(plan: dict[str, Any]) -> float:
    """Returns how many rows the plan's scans of the table read."""
    own = plan["Actual Rows"] * plan["Actual Loops"] if plan.get("Relation Name") == "authorizations" else 0
    return own + sum(map(_rows_read, plan.get("Plans", ())))


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_newest_authorization_is_read_without_the_others(database: Database) -> None:
    statement = str(limits.newest_authorizations(postgresql=True).compile(dialect=asyncpg.dialect()))  # type: ignore[no-untyped-call]
    async with database.lent() as connection:
        await connection.execute("INSERT INTO accounts (id, name, created_at) VALUES (1, 'First', now())")
        await connection.execute(_MANY_AUTHORIZATIONS)
        found = await connection.fetch(statement, [1, 2], 1)
        plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", [1, 2], 1)
    assert [tuple(row)[:2] for row in found] == [(1, 5000)]
    assert _rows_read(json.loads(plan)[0]["Plan"]) == 1
