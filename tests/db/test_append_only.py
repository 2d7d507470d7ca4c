"""The database itself refuses every change of a ledger row, whoever asks."""

from __future__ import annotations

import pytest
from sqlalchemy import exc, text

from db.database import Database

_ROW = (
    "INTO transactions (account_id, seq, created_at, type, amount_nanos, balance_after_nanos, description,"
    " source, actor, hash) VALUES (1, 1, {time}, 'bonus', 5, 5, 'Signup bonus', 'promotion', 'test', {digest})"
)


async def _with_one_row(database: Database) -> str:
    postgresql = database.is_postgresql
    time = "'2026-11-01T00:00:00Z'" if postgresql else "1793491200000000"
    digest = "decode(repeat('00', 32), 'hex')" if postgresql else "zeroblob(32)"
    row = _ROW.format(time=time, digest=digest)
    async with database.write() as connection:
        await connection.execute(text(f"INSERT INTO accounts (id, name, created_at) VALUES (1, 'One', {time})"))
        await connection.execute(text("INSERT " + row))
    return row


async def test_update_and_delete_are_refused(database: Database) -> None:
    await _with_one_row(database)
    for statement in (
        "UPDATE transactions SET description = 'changed'",
        "UPDATE transactions SET amount_nanos = amount_nanos",
        "DELETE FROM transactions",
    ):
        with pytest.raises(exc.DBAPIError, match="append-only"):
            async with database.write() as connection:
                await connection.execute(text(statement))
    assert [tuple(row) for row in await database.read(text("SELECT seq, description FROM transactions"))] == [
        (1, "Signup bonus")
    ]


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_truncate_and_replicas_are_refused(database: Database, role: str) -> None:
    await _with_one_row(database)
    for statement in ("TRUNCATE transactions", "TRUNCATE accounts CASCADE", "DELETE FROM transactions"):
        with pytest.raises(exc.DBAPIError, match="append-only"):
            async with database.write() as connection:
                await connection.execute(text(f"SET LOCAL session_replication_role = '{role}'"))
                await connection.execute(text(statement))


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "REPLACE"])
async def test_replace_is_refused(database: Database, verb: str) -> None:
    row = await _with_one_row(database)
    with pytest.raises(exc.DBAPIError, match="REPLACE refused"):
        async with database.write() as connection:
            await connection.execute(text(f"{verb} {row}"))
    with pytest.raises(exc.DBAPIError, match="append-only"):
        async with database.write() as connection:
            await connection.execute(text("UPDATE OR REPLACE transactions SET seq = 1"))


async def test_the_guards_are_there_after_migrating_to_the_newest_version(database: Database) -> None:
    if database.is_postgresql:
        found = await database.read(
            text(
                "SELECT tgname, tgenabled::text FROM pg_trigger"
                " WHERE tgrelid = 'transactions'::regclass AND NOT tgisinternal ORDER BY 1"
            )
        )
        assert [tuple(row) for row in found] == [
            ("transactions_refuse_change", "A"),
            ("transactions_refuse_truncate", "A"),
        ]
    else:
        found = await database.read(text("SELECT name FROM sqlite_schema WHERE type = 'trigger' ORDER BY 1"))
        assert [row[0] for row in found] == [
            "transactions_refuse_delete",
            "transactions_refuse_replace",
            "transactions_refuse_update",
        ]
