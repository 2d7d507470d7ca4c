"""Takes an account back to the state that it had at one of its rows, as restoring a backup does."""

from __future__ import annotations

from sqlalchemy import text

from db.database import Database, WriteConnection

_TRIGGER = "transactions_refuse_delete"


async def restore(database: Database, account_id: int, seq: int) -> None:
    """Deletes the rows after this `seq`, with the guards lifted. Usage, months and charges stay as they are."""
    async with database.write() as connection:
        guard = await _lift_guard(connection)
        await connection.execute(
            text("DELETE FROM transactions WHERE account_id = :account_id AND seq > :seq"),
            {"account_id": account_id, "seq": seq},
        )
        newest = "(SELECT {} FROM transactions WHERE account_id = accounts.id ORDER BY seq DESC LIMIT 1)"
        await connection.execute(
            text(
                f"UPDATE accounts SET head_seq = coalesce({newest.format('seq')}, 0),"
                f" head_at = {newest.format('created_at')}, head_hash = {newest.format('hash')},"
                f" balance_nanos = coalesce({newest.format('balance_after_nanos')}, 0) WHERE id = :account_id"
            ),
            {"account_id": account_id},
        )
        await connection.execute(text(guard))


async def _lift_guard(connection: WriteConnection) -> str:
    """Returns the statement that puts it back."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("ALTER TABLE transactions DISABLE TRIGGER transactions_refuse_change"))
        return "ALTER TABLE transactions ENABLE ALWAYS TRIGGER transactions_refuse_change"
    found = await connection.execute(text("SELECT sql FROM sqlite_schema WHERE name = :name"), {"name": _TRIGGER})
    guard: str = found.scalar_one()
    await connection.execute(text(f"DROP TRIGGER {_TRIGGER}"))
    return guard
