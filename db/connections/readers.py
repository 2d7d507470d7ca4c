"""Readers: how each database answers a snapshot's reads, in one statement if possible, and always from one moment."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

from db.connections import postgresql_batches, sqlite_batches
from db.connections.pool import Connection, Lendable, ReadPool
from db.connections.snapshots import MAX_BATCH, Reader, Rows, SnapshotInconsistent, Wanted
from db.connections.sqlite import SqliteConnection
from db.errors import CONNECTION_LOST, NumberOutOfRange, TransactionConflict, translate, translated
from db.figures import PoolUse


class WriteReader:
    """Reads within a write transaction. Sees what the transaction wrote and, in unlocked rows, what others
    committed."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.is_postgresql = connection.dialect.name == "postgresql"
        self._connection = connection

    @property
    def holds_connection(self) -> bool:
        return True

    async def read(self, batch: Sequence[Wanted]) -> Sequence[Rows | Exception]:
        """Raises TransactionConflict if rows left the table for the archive between two statements."""
        of_borders = [one for one in batch if one.is_border]
        before = [await self._rows(one) for one in of_borders]
        found = [await self._rows(one) for one in batch]
        if before != found[len(found) - len(of_borders) :]:
            raise TransactionConflict("ledger rows were moved to the archive meanwhile: nothing was written, try again")
        return found

    async def _rows(self, wanted: Wanted) -> Rows:
        return (await self._connection.execute(wanted.statement, wanted.parameters)).fetchall()

    async def close(self) -> None:
        """Does nothing, because the connection belongs to the writer."""


Asked = TypeVar("Asked", bound=Lendable, contravariant=True)


class BatchRunner(Protocol[Asked]):
    """Runs several reads of a database at once."""

    is_postgresql: bool
    begin: str
    """Begins a read-only transaction that sees one moment."""

    async def run(self, connection: Asked, batch: Sequence[Wanted]) -> Sequence[Rows | Exception]:
        """Returns the rows of each read, all from one moment, in one round trip."""

    def is_single(self, wanted: Wanted) -> bool:
        """Returns whether the statement does not name its columns, so that it cannot be part of a batch."""


class PostgresBatchRunner:
    is_postgresql = True
    begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

    async def run(self, connection: asyncpg.Connection[Any], batch: Sequence[Wanted]) -> Sequence[Rows]:
        return await postgresql_batches.run_batch(
            connection, [(wanted.statement, wanted.parameters) for wanted in batch]
        )

    def is_single(self, wanted: Wanted) -> bool:
        return postgresql_batches.compiled(wanted.statement).width == 0


class SqliteBatchRunner:
    is_postgresql = False
    begin = "BEGIN DEFERRED"

    async def run(self, connection: SqliteConnection, batch: Sequence[Wanted]) -> Sequence[Rows | Exception]:
        try:
            return await sqlite_batches.run_batch(connection, [(one.statement, one.parameters) for one in batch])
        except sqlite3.OperationalError as error:
            # SQLite's sums have 64 bits. If one overflows, only its own read fails.
            if len(batch) == 1 or not isinstance(translate(error), NumberOutOfRange):
                raise
            if not connection.is_in_transaction():
                raise SnapshotInconsistent("the reads have to be made one by one") from error
        return [await self._alone(connection, wanted) for wanted in batch]

    def is_single(self, wanted: Wanted) -> bool:
        return not sqlite_batches.names_columns(wanted.statement)

    async def _alone(self, connection: SqliteConnection, wanted: Wanted) -> Rows | Exception:
        try:
            with translated():
                [rows] = await sqlite_batches.run_batch(connection, [(wanted.statement, wanted.parameters)])
        except NumberOutOfRange as error:
            return error
        return rows


def _parts(batch: Sequence[Wanted], runner: BatchRunner[Any]) -> Iterator[Sequence[Wanted]]:
    """Splits the batch. The reads of borders are sent with the last part."""
    reads = sum(not wanted.is_border for wanted in batch)
    last = max(reads - 1, 0) // MAX_BATCH * MAX_BATCH
    for start in range(0, last, MAX_BATCH):
        yield batch[start : start + MAX_BATCH]
    if reads < len(batch) and runner.is_single(batch[last]):
        yield batch[last:reads]
        last = reads
    yield batch[last:]


class BriefReader(Generic[Connection]):
    """Reads in one round trip: a single statement is a snapshot without a transaction."""

    def __init__(self, pool: ReadPool[Connection], runner: BatchRunner[Connection]) -> None:
        self.is_postgresql = runner.is_postgresql
        self._pool = pool
        self._runner = runner
        self._used = False

    @property
    def holds_connection(self) -> bool:
        return False

    async def read(self, batch: Sequence[Wanted]) -> Sequence[Rows | Exception]:
        if len(list(_parts(batch, self._runner))) > 1 or (self._used and not all(wanted.immutable for wanted in batch)):
            raise SnapshotInconsistent("the operation needs more than one round trip")
        self._used = True
        connection = await self._pool.take()
        sound = False
        try:
            found = await self._runner.run(connection, batch)
            sound = True
        finally:
            self._pool.give_back(connection, sound=sound)
        return found

    async def close(self) -> None:
        pass


class LongReader(Generic[Connection]):
    """Reads in any number of round trips, which are one transaction."""

    def __init__(self, pool: ReadPool[Connection], runner: BatchRunner[Connection]) -> None:
        self.is_postgresql = runner.is_postgresql
        self._pool = pool
        self._runner = runner
        self._connection: Connection | None = None
        self._busy = False

    @property
    def holds_connection(self) -> bool:
        return self._connection is not None

    async def read(self, batch: Sequence[Wanted]) -> Sequence[Rows | Exception]:
        found: list[Rows | Exception] = []
        self._busy = True
        if self._connection is None:
            self._connection = await self._pool.take()
            await self._connection.execute(self._runner.begin)
        for part in _parts(batch, self._runner):
            found += await self._runner.run(self._connection, part)
        self._busy = False
        return found

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if not self._busy:
                # Shielded, so that a client that leaves does not leave its connection in the transaction.
                await asyncio.shield(connection.execute("ROLLBACK"))
        except CONNECTION_LOST:
            self._busy = True
        finally:
            self._pool.give_back(connection, sound=not self._busy)


class Readers(Generic[Connection]):
    """Creates the readers of one database."""

    def __init__(self, pool: ReadPool[Connection], runner: BatchRunner[Connection]) -> None:
        self._pool = pool
        self._runner = runner

    @property
    def use(self) -> PoolUse:
        return self._pool.use

    def brief(self) -> Reader:
        return BriefReader(self._pool, self._runner)

    def long(self) -> Reader:
        return LongReader(self._pool, self._runner)

    async def one(self, wanted: Wanted) -> Rows:
        """Reads outside any transaction."""
        async with self._pool.lent() as connection:
            [rows] = await self._runner.run(connection, (wanted,))
        assert not isinstance(rows, Exception)
        return rows

    async def free_memory(self) -> None:
        await self._pool.free_memory()

    async def close(self) -> None:
        await self._pool.close()
