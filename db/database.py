"""One database: its engine, read snapshots and write transactions, on SQLite or PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg
from sqlalchemy import URL, Executable, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.archive.errors import RowsArchived
from db.archive.lease import Lease
from db.archive.reading import LedgerArchive
from db.connections.borders import ANY_PROOF, BORDERS, Border, accounts_of, borders_of, names_the_ledger
from db.connections.engines import DatabaseOptions as DatabaseOptions
from db.connections.engines import PostgresPool, PostgresRoute, sqlite_engine, sqlite_readers
from db.connections.postgresql import PostgresConnection
from db.connections.readers import Readers, WriteReader
from db.connections.replicas import Replicas
from db.connections.snapshots import NOT_ANSWERED, Snapshot, Wanted, border_read
from db.connections.urls import driver_url
from db.errors import DatabaseUnavailable, translated
from db.feed.feed import ChangeFeed
from db.feed.postgres_signals import PostgresSignals
from db.feed.reading import LedgerReader
from db.feed.signals import Signals
from db.feed.sqlite_signals import SqliteSignals
from db.figures import Figures, PoolUse, WriteWaits
from db.shard_tables import shard_membership
from db.shards import PLACE, Place
from db.worker_lock import AdvisoryLock, FileLock, WorkerLock

POSTED_ACCOUNTS: Final = "posted_accounts"
"""The option of a write's connection that counts the rows that each account got."""
ARCHIVE: Final = "archive"
"""The option of a write's connection that has the archive."""

_NUMBER: Final = str(select(shard_membership.c.number))

# The transaction of a write. The layers above pass it on without using it directly.
WriteConnection = AsyncConnection


def sqlite_url(path: Path) -> str:
    return URL.create("sqlite+aiosqlite", database=str(path)).render_as_string(hide_password=False)


class Database:
    def __init__(self, options: DatabaseOptions) -> None:
        url = driver_url(options.url)
        self.is_postgresql = url.get_backend_name() == "postgresql"
        self.place: Place[Database] | None = None
        """None if the database belongs to no set of shards."""
        self.archive = LedgerArchive(options.archive_url, Lease(self._has_proofs))
        self.figures = Figures()
        self._write_waits = WriteWaits()
        self.lock_timeout_seconds = options.lock_timeout_seconds
        self.file = None if self.is_postgresql else Path(url.database or "")
        self._route: PostgresRoute | None = None
        self._direct: PostgresRoute | None = None
        """The way that no pooler is on, for what outlives a transaction."""
        self.checking_engine: AsyncEngine | None = None
        """PostgreSQL: for checks of the database, apart from the pools."""
        self._posting_pool: PostgresPool | None = None
        self.replicas: Replicas | None = None
        self._readers: Readers[Any]
        signals: Signals
        if self.file is None:
            pooled = options.direct_url is not None
            self._direct = PostgresRoute(options.direct_url or options.url, options, self.figures)
            self._route = (
                PostgresRoute(options.url, options, self.figures, behind=self._direct) if pooled else self._direct
            )
            self.engine = self._route.writing_engine()
            self._readers = self._route.readers()
            self._posting_pool = self._route.posting_pool()
            self.checking_engine = self._route.checking_engine()
            self.replicas = self._opened_replicas(options)
            signals = PostgresSignals(self._direct.servers.connect)
        else:
            self.engine = sqlite_engine(url, options)
            self._readers = sqlite_readers(self.file, options)
            signals = SqliteSignals(self.file)
        # SQLite has one writer at a time. Waiting here is fair and free; waiting in SQLite's busy loop is neither.
        self._writer = None if self.is_postgresql else asyncio.Lock()
        # A write locks its accounts, then reads what others have committed. A stricter default_transaction_isolation of
        # the server would make it fail, so BEGIN names the level.
        self._write_isolation = {"isolation_level": "READ COMMITTED"} if self.is_postgresql else {}
        self.changes = ChangeFeed(LedgerReader(self.read_live, postgresql=self.is_postgresql), signals)

    def _opened_replicas(self, options: DatabaseOptions) -> Replicas | None:
        routes = [PostgresRoute(url, options, self.figures) for url in options.read_urls]
        servers = [(route.servers, route.readers) for route in routes]
        return Replicas(self._readers, servers, options.max_lag_seconds, self._check_shard) if servers else None

    async def _check_shard(self, connection: PostgresConnection) -> None:
        """Raises DatabaseUnavailable for a connection to a replica of another shard."""
        if self.place is not None and await connection.fetchval(_NUMBER) != self.place.number:
            raise DatabaseUnavailable("the server is not a replica of this shard")

    @property
    def is_reachable(self) -> bool:
        """False while the server was found not to answer at all. SQLite: always true."""
        return self._route is None or self._route.servers.is_reachable

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler is before the database, besides the way of `session`."""
        return self._direct is not self._route

    @property
    def pools(self) -> dict[str, PoolUse]:
        """How each pool of connections is used."""
        writing: Any = self.engine.pool
        found = {"read": self._readers.use, "write": self._write_waits.use(writing.checkedout(), writing.checkedin())}
        return found if self._posting_pool is None else {**found, "post": self._posting_pool.use}

    def worker_lock(self) -> WorkerLock:
        if self.file is not None:
            return FileLock(self.file)
        assert self._direct is not None
        return AdvisoryLock(self._direct.servers.connect)

    def snapshot(self, *, brief: bool = False, on: Readers[Any] | None = None) -> Snapshot:
        """Returns a snapshot. `brief` is for reads that probably need only one round trip: check `inconsistent`
        afterwards. `on` are the readers of a replica."""
        readers = on or self._readers
        return Snapshot(readers.brief() if brief else readers.long(), self.archive, is_on_replica=on is not None)

    def lent(self) -> contextlib.AbstractAsyncContextManager[asyncpg.Connection[Any]]:
        """Lends a driver connection for posting by statements that are each a transaction. PostgreSQL only."""
        assert self._posting_pool is not None
        return self._posting_pool.lent()

    async def read(self, statement: Executable, parameters: dict[str, Any] | None = None) -> Sequence[Any]:
        """Returns the rows of a single statement, outside any transaction.

        Raises RowsArchived if it is of ledger rows, and an account that it reads has archived ones.
        """
        given = parameters or {}
        if not names_the_ledger(statement, postgresql=self.is_postgresql):
            return await self.read_live(statement, given)
        if self.archive.lease is not None:
            await self.archive.lease.renew()
            if self.archive.lease.is_held:
                return await self.read_live(statement, given)
        border = border_read(accounts_of(given), postgresql=self.is_postgresql)
        with translated():
            # Rows may leave the table, or come back, before or after the statement.
            before = await self._readers.one(border)
            found = await self._readers.one(Wanted(statement, given))
            if before or await self._readers.one(border):
                raise RowsArchived(NOT_ANSWERED)
        return found

    async def read_live(self, statement: Executable, parameters: dict[str, Any]) -> Sequence[Any]:
        """Does the same, for statements that need no archived rows, or find by themselves that rows are missing."""
        with translated():
            return await self._readers.one(Wanted(statement, parameters))

    async def border_of(self, account_id: int) -> Border | None:
        rows = await self.read_live(BORDERS[self.is_postgresql], {"accounts": [account_id]})
        return borders_of(rows).get(account_id)

    async def _has_proofs(self) -> bool:
        return bool(await self.read_live(ANY_PROOF, {}))

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[WriteConnection]:
        """One read-write transaction. Commits at the end; rolls back completely if anything is raised.

        Announces the accounts that got rows to the change feed.
        """
        posted: Counter[int] = Counter()
        async with self._writing_connection() as connection:
            await connection.execution_options(
                billing_write=True,
                **{POSTED_ACCOUNTS: posted, ARCHIVE: self.archive, PLACE: self.place},
                **self._write_isolation,
            )
            async with connection.begin():
                yield connection
        self.note_posted(posted)

    def note_posted(self, rows: Counter[int]) -> None:
        """To be told of every commit: how many rows each account got."""
        if rows:
            self.figures.rows_posted += rows.total()
            self.changes.announce(set(rows))

    @contextlib.asynccontextmanager
    async def _writing_connection(self) -> AsyncIterator[WriteConnection]:
        async with contextlib.AsyncExitStack() as stack:
            with self._write_waits.counted():
                await stack.enter_async_context(self._turn_to_write())
                stack.enter_context(translated())
                connection = await stack.enter_async_context(self.engine.connect())
            yield connection

    @contextlib.asynccontextmanager
    async def _turn_to_write(self) -> AsyncIterator[None]:
        if self._writer is None:
            yield
            return
        try:
            async with asyncio.timeout(self.lock_timeout_seconds):
                await self._writer.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable("the writes before this one took too long") from error
        try:
            yield
        finally:
            self._writer.release()

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncConnection]:
        """Yields a connection that is closed afterwards, for what outlives a transaction. Each of its transactions sees
        one moment."""
        engine = self.engine if self._direct is None else self._direct.writing_engine()
        try:
            with translated():
                async with engine.connect() as connection:
                    if self.is_postgresql:
                        await connection.execution_options(isolation_level="REPEATABLE READ")
                    try:
                        yield connection
                    finally:
                        await connection.invalidate()
        finally:
            if engine is not self.engine:
                await engine.dispose()

    @staticmethod
    def snapshot_within(connection: WriteConnection) -> Snapshot:
        """Returns a snapshot of the transaction. If it has a `failure` afterwards, the transaction must not be
        committed."""
        assert connection.sync_connection is not None
        return Snapshot(WriteReader(connection), connection.sync_connection.get_execution_options()[ARCHIVE])

    async def free_memory(self) -> None:
        """Frees the memory of connections for reading that are idle."""
        with translated():
            await self._readers.free_memory()

    async def close(self) -> None:
        await self.changes.close()
        await asyncio.to_thread(self.archive.close)
        if self.replicas is not None:
            await self.replicas.close()
        await self._readers.close()
        if self._posting_pool is not None:
            await self._posting_pool.close()
        for route in {self._route, self._direct}:
            if route is not None:
                await route.servers.close()
        if self.checking_engine is not None:
            await self.checking_engine.dispose()
        await self.engine.dispose()
