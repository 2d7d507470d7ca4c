"""Writes rows as they are, on either database: no rule is applied, and no hash is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, insert, update

from db import tables
from db.database import WriteConnection
from db.rows import AccountRow, ChargeRow, TransactionRow, values_of_transaction


async def _insert(connection: WriteConnection, table: Table, values: Sequence[dict[str, Any]]) -> None:
    if values:
        await connection.execute(insert(table), values)


async def insert_transactions(connection: WriteConnection, rows: Sequence[TransactionRow]) -> None:
    await _insert(connection, tables.transactions, list(map(values_of_transaction, rows)))


async def update_account(connection: WriteConnection, row: AccountRow) -> None:
    table = tables.accounts
    await connection.execute(update(table).where(table.c.id == row.id).values(row._asdict()))


async def insert_charges(connection: WriteConnection, rows: Sequence[ChargeRow]) -> None:
    await _insert(connection, tables.charges, [row._asdict() for row in rows])


async def update_charge(connection: WriteConnection, row: ChargeRow) -> None:
    table = tables.charges
    same = [column == getattr(row, column.name) for column in table.primary_key]
    await connection.execute(update(table).where(*same).values(row._asdict()))
