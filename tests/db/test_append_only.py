"""The database itself refuses every change of a ledger row, an audit entry and a checkpoint, whoever asks."""

from __future__ import annotations

import pytest
from sqlalchemy import exc, text

from db.database import Database

_ROWS = {
    "transactions": (
        "INTO transactions (account_id, seq, created_at, type, amount_nanos, balance_after_nanos, description,"
        " source, actor, hash) VALUES (1, 1, {time}, 'bonus', 5, 5, 'Signup bonus', 'promotion', 'test', {digest})"
    ),
    "audit_entries": (
        "INTO audit_entries (id, at, act, actor, owner, account_id, description)"
        " VALUES (1, {time}, 'createAccount', 'eco_test', 'tests', 1, 'Signup bonus')"
    ),
    "ledger_checkpoints": "INTO ledger_checkpoints (account_id, day, seq, hash) VALUES (1, '2026-11-01', 1, {digest})",
}
_CHANGES = {
    "transactions": "description = 'changed'",
    "audit_entries": "description = 'changed'",
    "ledger_checkpoints": "seq = 2",
}


@pytest.fixture(params=sorted(_ROWS))
def table(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def _with_one_row(database: Database, table: str) -> str:
    postgresql = database.is_postgresql
    time = "'2026-11-01T00:00:00Z'" if postgresql else "1793491200000000"
    digest = "decode(repeat('00', 32), 'hex')" if postgresql else "zeroblob(32)"
    row = _ROWS[table].format(time=time, digest=digest)
    async with database.write() as connection:
        await connection.execute(text(f"INSERT INTO accounts (id, name, created_at) VALUES (1, 'One', {time})"))
        await connection.execute(text("INSERT " + row))
    return row


async def test_update_and_delete_are_refused(database: Database, table: str) -> None:
    await _with_one_row(database, table)
    for statement in (
        f"UPDATE {table} SET {_CHANGES[table]}",
        f"UPDATE {table} SET account_id = account_id",
        f"DELETE FROM {table}",
    ):
        with pytest.raises(exc.DBAPIError, match="append-only"):
            async with database.write() as connection:
                await connection.execute(text(statement))
    unchanged = f"SELECT account_id FROM {table} WHERE NOT ({_CHANGES[table]})"
    assert [tuple(row) for row in await database.read(text(unchanged))] == [(1,)]


async def test_rows_of_an_account_that_was_moved_can_go(database: Database, table: str) -> None:
    await _with_one_row(database, table)
    async with database.write() as connection:
        await connection.execute(text("UPDATE accounts SET shard = 1"))
    for number, gone in ((2, False), (1, True)):
        async with database.write() as connection:
            await connection.execute(text("DELETE FROM moved_accounts"))
            moved = f"INSERT INTO moved_accounts (account_id, number, moves) VALUES (1, {number}, 1)"
            await connection.execute(text(moved))
        if gone:
            async with database.write() as connection:
                await connection.execute(text(f"DELETE FROM {table}"))
        else:
            with pytest.raises(exc.DBAPIError, match="append-only"):
                async with database.write() as connection:
                    await connection.execute(text(f"DELETE FROM {table}"))
    assert not await database.read(text(f"SELECT 1 FROM {table}"))


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_truncate_and_changes_as_replica_are_refused(database: Database, role: str, table: str) -> None:
    await _with_one_row(database, table)
    for statement in (f"TRUNCATE {table}", "TRUNCATE accounts CASCADE", f"DELETE FROM {table}"):
        with pytest.raises(exc.DBAPIError, match="append-only"):
            async with database.write() as connection:
                await connection.execute(text(f"SET LOCAL session_replication_role = '{role}'"))
                await connection.execute(text(statement))


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "REPLACE"])
async def test_replace_is_refused(database: Database, verb: str, table: str) -> None:
    row = await _with_one_row(database, table)
    with pytest.raises(exc.DBAPIError, match="REPLACE refused"):
        async with database.write() as connection:
            await connection.execute(text(f"{verb} {row}"))
    with pytest.raises(exc.DBAPIError, match="append-only"):
        async with database.write() as connection:
            await connection.execute(text(f"UPDATE OR REPLACE {table} SET account_id = 1"))


async def test_guards_exist_after_all_migrations(database: Database, table: str) -> None:
    if database.is_postgresql:
        found = await database.read(
            text(
                "SELECT tgname, tgenabled::text FROM pg_trigger"
                f" WHERE tgrelid = '{table}'::regclass AND NOT tgisinternal ORDER BY 1"
            )
        )
        assert [tuple(row) for row in found] == [
            (f"{table}_refuse_change", "A"),
            (f"{table}_refuse_truncate", "A"),
        ]
    else:
        found = await database.read(
            text(f"SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = '{table}' ORDER BY 1")
        )
        assert [row[0] for row in found] == [f"{table}_refuse_{what}" for what in ("delete", "replace", "update")]
