"""Each test finds the database of its module as if it were new, whatever the one before did."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.module_database import MAX_INHERITED_BYTES, MAX_REUSED_BYTES, ModuleDatabase
from tests.postgres import Postgres

ACCOUNT = "INSERT INTO accounts (name, created_at) VALUES ('One', '2026-11-01Z') RETURNING id"
ROWS = """
INSERT INTO transactions (account_id, seq, created_at, type, amount_nanos, balance_after_nanos, description, source,
                          actor, hash)
VALUES (1, 1, '2026-11-01Z', 'bonus', 5, 5, 'Signup bonus', 'promotion', 'test', decode(repeat('00', 32), 'hex'));
INSERT INTO audit_entries (id, at, act, actor, owner, account_id, description)
VALUES (1, '2026-11-01Z', 'createAccount', 'eco_test', 'tests', 1, 'Signup bonus')
"""


def _rows_of(size: int) -> str:
    return f"""
        INSERT INTO accounts (name, created_at)
        SELECT repeat('x', 1000), '2026-11-01Z' FROM generate_series(1, {size // 1000})
    """


MANY_ROWS = _rows_of(MAX_REUSED_BYTES)


@pytest.fixture
async def lent(postgres_server: Postgres, postgres_template: str) -> AsyncIterator[ModuleDatabase]:
    database = ModuleDatabase(postgres_server, postgres_template)
    yield database
    await database.drop()


async def _oid(connection: asyncpg.Connection[Any]) -> int:
    return int(await connection.fetchval("SELECT oid FROM pg_database WHERE datname = current_database()"))


async def _run(url: str, *statements: str) -> int:
    """Returns the oid of the database, which a new name leaves as it is."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
        return await _oid(connection)
    finally:
        await connection.close()


async def _contents(url: str) -> dict[str, int]:
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {one[0]: await connection.fetchval(f'SELECT count(*) FROM "{one[0]}"') for one in tables}
    finally:
        await connection.close()


async def test_rows_and_numbers_are_gone_and_the_guards_are_back(lent: ModuleDatabase) -> None:
    first = await lent.lend()
    empty = await _contents(first)
    oid = await _run(first, ACCOUNT, ROWS)
    assert await _contents(first) == empty | {"accounts": 1, "transactions": 1, "audit_entries": 1}
    await lent.take_back()
    second = await lent.lend()
    assert await _contents(second) == empty
    # Account 1 is there again: its rows name it.
    assert await _run(second, ACCOUNT, ROWS) == oid
    for table in ("transactions", "audit_entries"):
        for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}"):
            with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="append-only"):
                await _run(second, "SET session_replication_role = replica", statement)


async def test_statements_left_running_are_ended_and_cannot_come_back(lent: ModuleDatabase) -> None:
    url = await lent.lend()
    left = await asyncpg.connect(url)
    transaction = left.transaction()
    await transaction.start()
    await left.execute("LOCK TABLE accounts")
    await lent.take_back()
    assert left.is_closed()
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(url)


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE alembic_version",
        "UPDATE alembic_version SET version_num = 'a1b2c3'",
        "CREATE TABLE numbers (value bigint)",
        "CREATE INDEX more ON charges (cycles)",
        "ALTER TABLE transactions DISABLE TRIGGER transactions_refuse_change",
        "ALTER TABLE accounts ALTER COLUMN id SET DEFAULT 7",
        "GRANT SELECT ON accounts TO PUBLIC",
        "ANALYZE accounts",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = 64', current_database()); END $$",
        MANY_ROWS,
    ],
)
async def test_a_database_that_was_changed_otherwise_is_replaced(lent: ModuleDatabase, change: str) -> None:
    first = await lent.lend()
    empty = await _contents(first)
    oid = await _run(first, ACCOUNT, change)
    await lent.take_back()
    second = await lent.lend()
    assert await _run(second) != oid
    assert await _contents(second) == empty


@pytest.mark.parametrize(("written", "inherits"), [(ACCOUNT, True), (_rows_of(MAX_INHERITED_BYTES), False)])
async def test_next_module_inherits_a_small_database(lent: ModuleDatabase, written: str, *, inherits: bool) -> None:
    oid = await _run(await lent.lend(), written)
    await lent.take_back()
    await lent.end_module()
    assert (await _run(await lent.lend()) == oid) is inherits
