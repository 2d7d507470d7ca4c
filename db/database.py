"""One database: its engine, read snapshots and write transactions, on SQLite or PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg
from sqlalchemy import URL, Executable, event, exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from db.connections import sqlite
from db.connections.pool import ReadPool
from db.connections.postgresql import PostgresConnection
from db.connections.readers import PostgresBatchRunner, Readers, SqliteBatchRunner, WriteReader
from db.connections.servers import Servers
from db.connections.snapshots import Snapshot, Wanted
from db.connections.sqlite import SqliteConnection, keep_private, prepare
from db.connections.urls import connect_arguments, driver_url
from db.errors import DatabaseUnavailable, translated
from db.feed.feed import ChangeFeed
from db.feed.postgres_signals import PostgresSignals
from db.feed.reading import LedgerReader
from db.feed.signals import Signals
from db.feed.sqlite_signals import SqliteSignals
from db.figures import Figures, PoolUse, WriteWaits
from db.worker_lock import AdvisoryLock, FileLock, WorkerLock

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry


POSTED_ACCOUNTS: Final = "posted_accounts"
"""The option of a write's connection that counts the rows that each account got."""

CHECK_SECONDS: Final = 1.0
"""How long one statement of a check may take, or its wait for SQLite's lock: longer than any write of the gateway."""
CHECK_LOCK_SECONDS: Final = 0.7

# The transaction of a write. The layers above pass it on without using it directly.
WriteConnection = AsyncConnection


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    url: str
    pool_size: int = 10
    statement_timeout_seconds: float = 30.0
    lock_timeout_seconds: float = 10.0
    silence_seconds: float = 2.0
    """How long a server may not answer at all until it counts as down."""


def sqlite_url(path: Path) -> str:
    return URL.create("sqlite+aiosqlite", database=str(path)).render_as_string(hide_password=False)


def _sqlite_engine(url: URL, options: DatabaseOptions) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=options.pool_size,
        max_overflow=0,
        pool_timeout=options.lock_timeout_seconds,
        connect_args={"timeout": options.lock_timeout_seconds},
    )

    @event.listens_for(engine.sync_engine, "do_connect")
    def create(*_: object) -> None:
        keep_private(Path(url.database or ""))

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        # The driver emits no BEGIN before a SELECT, so two reads of one transaction could see different data. So the
        # driver's transaction control is disabled, and BEGIN is emitted below.
        connection.isolation_level = None
        prepare(connection)

    @event.listens_for(engine.sync_engine, "invalidate")
    def release(connection: DBAPIConnection, _record: ConnectionPoolEntry, _error: BaseException | None) -> None:
        # A cancelled write gives its connection back with an open transaction, which must not keep its lock.
        connection.rollback()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        mode = "IMMEDIATE" if connection.get_execution_options().get("billing_write") else "DEFERRED"
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def _connect_arguments(url: URL, options: DatabaseOptions) -> dict[str, Any]:
    return connect_arguments(url) | {
        "server_settings": {
            "application_name": "billing-gateway",
            "jit": "off",
            "timezone": "UTC",
            "statement_timeout": str(int(options.statement_timeout_seconds * 1000)),
            "lock_timeout": str(int(options.lock_timeout_seconds * 1000)),
            "idle_in_transaction_session_timeout": "60000",
            # The server's side of a connection whose client is gone: it must not hold locks, nor count for a limit.
            "tcp_keepalives_idle": "10",
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "3",
        },
    }


def _postgresql_engine(url: URL, connect: Connect, *, size: int, wait_seconds: float) -> AsyncEngine:
    engine = create_async_engine(
        # The rest of the URL is the servers': SQLAlchemy would hand `sslmode` on, which asyncpg doesn't know.
        url.set(query={}),
        pool_size=size,
        max_overflow=0,
        pool_timeout=wait_seconds,
        pool_pre_ping=False,
        async_creator=connect,
    )

    @event.listens_for(engine.sync_engine, "checkout")
    def check_out(connection: DBAPIConnection, _record: ConnectionPoolEntry, _proxy: object) -> None:
        driver_connection: PostgresConnection = connection.driver_connection
        if driver_connection.is_closed():
            # Another is taken in its place.
            raise exc.DisconnectionError
        driver_connection.is_lent = True

    @event.listens_for(engine.sync_engine, "checkin")
    def check_in(connection: DBAPIConnection | None, _record: ConnectionPoolEntry) -> None:
        if connection is not None:
            connection.driver_connection.is_lent = False

    return engine


def _writing_engine(url: URL, servers: Servers, options: DatabaseOptions) -> AsyncEngine:
    wait_seconds = options.lock_timeout_seconds
    connect = partial(servers.connect_patiently, wait_seconds)
    return _postgresql_engine(url, connect, size=options.pool_size, wait_seconds=wait_seconds)


def _checking_engine(url: URL, servers: Servers, arguments: Mapping[str, Any]) -> AsyncEngine:
    """With one connection, which is there when the server has no other left to give."""
    limits = {
        "statement_timeout": str(round(CHECK_SECONDS * 1000)),
        "lock_timeout": str(round(CHECK_LOCK_SECONDS * 1000)),
    }

    async def connect() -> PostgresConnection:
        connection = await servers.connect(server_settings=arguments["server_settings"] | limits)
        connection.is_kept = True
        return connection

    return _postgresql_engine(url, connect, size=1, wait_seconds=CHECK_SECONDS)


# Reads that are sent as one statement may be longer than what the driver keeps prepared by default.
_MAX_KEPT_STATEMENT_BYTES: Final = 256 * 1024


def _sqlite_readers(file: Path, options: DatabaseOptions) -> Readers[SqliteConnection]:
    connect = partial(
        sqlite.connect,
        file,
        lock_seconds=options.lock_timeout_seconds,
        longest_seconds=options.statement_timeout_seconds,
    )
    return Readers(ReadPool(connect, options.pool_size, options.lock_timeout_seconds), SqliteBatchRunner())


Connect: TypeAlias = "Callable[[], Coroutine[Any, Any, PostgresConnection]]"
PostgresPool: TypeAlias = "ReadPool[PostgresConnection]"


def _postgres_readers(servers: Servers, arguments: Mapping[str, Any], options: DatabaseOptions) -> Readers[Any]:
    # PostgreSQL takes a limit that is a parameter for a tenth of the rows. On a long ledger, this estimate would make
    # it plan each page again, which costs more than reading the page. tests/db/test_page_costs.py shows that the reused
    # plan reads no more rows.
    settings = arguments["server_settings"] | {"plan_cache_mode": "force_generic_plan"}
    connect = partial(servers.connect, server_settings=settings, max_cacheable_statement_size=_MAX_KEPT_STATEMENT_BYTES)
    return Readers(ReadPool(connect, options.pool_size, options.lock_timeout_seconds), PostgresBatchRunner())


POSTING_CONNECTIONS: Final = 3


def _posting_pool(servers: Servers, arguments: Mapping[str, Any], options: DatabaseOptions) -> PostgresPool:
    # Posting finds a few rows by key in tables that may be small and full of old versions when the plan is made, and
    # long when it is used. So it is planned once, by keys only.
    settings = arguments["server_settings"] | {
        "plan_cache_mode": "force_generic_plan",
        "enable_seqscan": "off",
        "enable_bitmapscan": "off",
    }
    connect = partial(servers.connect, server_settings=settings)
    return ReadPool(connect, POSTING_CONNECTIONS, options.lock_timeout_seconds)


class Database:
    def __init__(self, options: DatabaseOptions) -> None:
        url = driver_url(options.url)
        self.is_postgresql = url.get_backend_name() == "postgresql"
        self.figures = Figures()
        self._write_waits = WriteWaits()
        self.lock_timeout_seconds = options.lock_timeout_seconds
        self.file = None if self.is_postgresql else Path(url.database or "")
        self._servers: Servers | None = None
        self.checking_engine: AsyncEngine | None = None
        """PostgreSQL: for checks of the database, apart from the pools."""
        self._posting_pool: PostgresPool | None = None
        self._readers: Readers[Any]
        signals: Signals
        if self.file is None:
            arguments = _connect_arguments(url, options)
            self._servers = Servers(arguments, options.silence_seconds, options.statement_timeout_seconds, self.figures)
            self.engine = _writing_engine(url, self._servers, options)
            self._readers = _postgres_readers(self._servers, arguments, options)
            self._posting_pool = _posting_pool(self._servers, arguments, options)
            self.checking_engine = _checking_engine(url, self._servers, arguments)
            signals = PostgresSignals(self._servers.connect)
        else:
            self.engine = _sqlite_engine(url, options)
            self._readers = _sqlite_readers(self.file, options)
            signals = SqliteSignals(self.file)
        # SQLite has one writer at a time. Waiting here is fair and free; waiting in SQLite's busy loop is neither.
        self._writer = None if self.is_postgresql else asyncio.Lock()
        # A write locks its accounts, then reads what others have committed. A stricter default_transaction_isolation of
        # the server would make it fail, so BEGIN names the level.
        self._write_isolation = {"isolation_level": "READ COMMITTED"} if self.is_postgresql else {}
        self.changes = ChangeFeed(LedgerReader(self.read, postgresql=self.is_postgresql), signals)

    @property
    def is_reachable(self) -> bool:
        """False while the server was found not to answer at all. SQLite: always true."""
        return self._servers is None or self._servers.is_reachable

    @property
    def pools(self) -> dict[str, PoolUse]:
        """How each pool of connections is used."""
        writing: Any = self.engine.pool
        found = {"read": self._readers.use, "write": self._write_waits.use(writing.checkedout(), writing.checkedin())}
        return found if self._posting_pool is None else {**found, "post": self._posting_pool.use}

    def worker_lock(self) -> WorkerLock:
        if self.file is not None:
            return FileLock(self.file)
        assert self._servers is not None
        return AdvisoryLock(self._servers.connect)

    def snapshot(self, *, brief: bool = False) -> Snapshot:
        """Returns a snapshot. `brief` is for reads that probably need only one round trip: check `inconsistent`
        afterwards."""
        return Snapshot(self._readers.brief() if brief else self._readers.long())

    def lent(self) -> contextlib.AbstractAsyncContextManager[asyncpg.Connection[Any]]:
        """Lends a driver connection for posting by statements that are each a transaction. PostgreSQL only."""
        assert self._posting_pool is not None
        return self._posting_pool.lent()

    async def read(self, statement: Executable, parameters: dict[str, Any] | None = None) -> Sequence[Any]:
        """Returns the rows of a single statement, outside any transaction."""
        with translated():
            return await self._readers.one(Wanted(statement, parameters or {}))

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[WriteConnection]:
        """One read-write transaction. Commits at the end; rolls back completely if anything is raised.

        Announces the accounts that got rows to the change feed.
        """
        posted: Counter[int] = Counter()
        async with self._writing_connection() as connection:
            await connection.execution_options(billing_write=True, **{POSTED_ACCOUNTS: posted}, **self._write_isolation)
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

    @staticmethod
    def snapshot_within(connection: WriteConnection) -> Snapshot:
        """Returns a snapshot of the transaction. If it has a `failure` afterwards, the transaction must not be
        committed."""
        return Snapshot(WriteReader(connection))

    async def close(self) -> None:
        await self.changes.close()
        await self._readers.close()
        if self._posting_pool is not None:
            await self._posting_pool.close()
        if self._servers is not None:
            await self._servers.close()
        if self.checking_engine is not None:
            await self.checking_engine.dispose()
        await self.engine.dispose()
