"""Whole ledger: all rows of an account with archived ones, in a session of its own.

The archived rows are copied to a temporary table, and a temporary view with the name of the ledger's table has both. So
every statement reads the whole ledger as it is written, joins with other tables too. That takes the longer the larger
the account's archive is: it is for verification.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import Column, Executable, MetaData, Table, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db import tables
from db.archive.reach import Reach
from db.archive.reading import Archived
from db.connections.borders import Border
from db.connections.readers import WriteReader
from db.connections.snapshots import Snapshot
from db.database import Database
from db.errors import translated
from db.rows import TransactionRow, values_of_transaction

_LEDGER: Final = tables.transactions
_ARCHIVED: Final = Table("archived_transactions", MetaData(), *(Column(one.name, one.type) for one in _LEDGER.columns))
_ROWS_AT_ONCE: Final = 2_000

_INDEXES: Final = ("account_id, seq", "account_id, created_at, seq", "account_id, ref_type, ref_id, seq")


class WholeLedger:
    """Reads as a database does, from the account's whole ledger. One statement at a time."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.is_postgresql = connection.dialect.name == "postgresql"
        self._connection = connection

    async def read(self, statement: Executable, parameters: dict[str, Any] | None = None) -> Sequence[Any]:
        async with self.snapshot() as snapshot:
            return await snapshot.rows(statement, parameters)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        with translated():
            async with self._connection.begin(), Snapshot(WriteReader(self._connection), None) as snapshot:
                yield snapshot


async def _prepare(connection: AsyncConnection) -> None:
    where = "main"
    if connection.dialect.name == "postgresql":
        where = (await connection.execute(text("SELECT quote_ident(current_schema())"))).scalar_one()
    name, ledger = _ARCHIVED.name, f"{where}.{_LEDGER.name}"
    names = ", ".join(column.name for column in _LEDGER.columns)
    view = f"SELECT {names} FROM {ledger} UNION ALL SELECT {names} FROM {name}"  # noqa: S608
    for statement in (
        f"CREATE TEMPORARY TABLE {name} AS SELECT {names} FROM {ledger} WHERE 1 = 0",  # noqa: S608
        *(f"CREATE INDEX {name}_{number} ON {name} ({columns})" for number, columns in enumerate(_INDEXES)),
        f"CREATE TEMPORARY VIEW {_LEDGER.name} AS {view}",
    ):
        await connection.execute(text(statement))


async def _fill(connection: AsyncConnection, database: Database, border: Border) -> None:
    for proof in border.proofs:
        reach = Reach(proof.first_seq - 1, proof.last_seq + 1)

        def rows_of_file(archived: Archived, reach: Reach = reach) -> list[TransactionRow]:
            rows = archived.whole(border.account_id, reach)
            return [] if rows is None else rows.all_rows()

        rows = await database.archive.run({border.account_id: border}, rows_of_file)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            await connection.execute(
                insert(_ARCHIVED), list(map(values_of_transaction, rows[start : start + _ROWS_AT_ONCE]))
            )


@asynccontextmanager
async def whole_ledger(database: Database, border: Border) -> AsyncIterator[WholeLedger]:
    """Opens the ledger of an account with archived rows. Raises ArchiveError, and DatabaseError where the role may not
    create temporary tables."""
    async with database.session() as connection:
        async with connection.begin():
            await _prepare(connection)
            await _fill(connection, database, border)
            await connection.execute(text(f"ANALYZE {_ARCHIVED.name}"))
        yield WholeLedger(connection)
