"""One database: its engine, read snapshots and write transactions, on SQLite or PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg
from sqlalchemy import URL, Executable, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from db.connections import sqlite
from db.connections.pool import ReadPool
from db.connections.readers import PostgresBatchRunner, Readers, SqliteBatchRunner, WriteReader
from db.connections.snapshots import Snapshot, Wanted
from db.connections.sqlite import SqliteConnection, keep_private, prepare
from db.connections.urls import connect_arguments, driver_url
from db.errors import translated
from db.feed.feed import ChangeFeed
from db.feed.postgres_signals import PostgresSignals
from db.feed.reading import LedgerReader
from db.feed.sqlite_signals import SqliteSignals
from db.worker_lock import AdvisoryLock, FileLock, WorkerLock

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry


POSTED_ACCOUNTS: Final = "posted_accounts"
"""The option of a write's connection that collects the accounts whose heads it changed."""

# The transaction of a write. The layers above pass it on without using it directly.
WriteConnection = AsyncConnection


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    url: str
    pool_size: int = 10
    statement_timeout_seconds: float = 30.0
    lock_timeout_seconds: float = 10.0


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
        "timeout": options.lock_timeout_seconds,
        "server_settings": {
            "application_name": "billing-gateway",
            "jit": "off",
            "timezone": "UTC",
            "statement_timeout": str(int(options.statement_timeout_seconds * 1000)),
            "lock_timeout": str(int(options.lock_timeout_seconds * 1000)),
            "idle_in_transaction_session_timeout": "60000",
        },
    }


def _postgresql_engine(url: URL, options: DatabaseOptions) -> AsyncEngine:
    return create_async_engine(
        # The rest of the URL is in the arguments: SQLAlchemy would pass on `sslmode`, which asyncpg does not know.
        url.set(query={}),
        pool_size=options.pool_size,
        max_overflow=0,
        pool_timeout=options.lock_timeout_seconds,
        pool_pre_ping=False,
        connect_args=_connect_arguments(url, options),
    )


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


PostgresPool: TypeAlias = "ReadPool[asyncpg.Connection[Any]]"


def _postgres_pool(arguments: dict[str, Any], size: int, options: DatabaseOptions) -> PostgresPool:
    return ReadPool(lambda: asyncpg.connect(**arguments), size, options.lock_timeout_seconds)


def _postgres_readers(url: URL, options: DatabaseOptions) -> Readers[asyncpg.Connection[Any]]:
    arguments = _connect_arguments(url, options) | {"max_cacheable_statement_size": _MAX_KEPT_STATEMENT_BYTES}
    # PostgreSQL takes a limit that is a parameter for a tenth of the rows. On a long ledger, this estimate would make
    # it plan each page again, which costs more than reading the page. tests/db/test_page_costs.py shows that the reused
    # plan reads no more rows.
    arguments["server_settings"] = arguments["server_settings"] | {"plan_cache_mode": "force_generic_plan"}
    return Readers(_postgres_pool(arguments, options.pool_size, options), PostgresBatchRunner())


POSTING_CONNECTIONS: Final = 3


def _posting_pool(url: URL, options: DatabaseOptions) -> PostgresPool:
    arguments = _connect_arguments(url, options)
    # Posting finds a few rows by key in tables that may be small and full of old versions when the plan is made, and
    # long when it is used. So it is planned once, by keys only.
    arguments["server_settings"] |= {
        "plan_cache_mode": "force_generic_plan",
        "enable_seqscan": "off",
        "enable_bitmapscan": "off",
    }
    return _postgres_pool(arguments, POSTING_CONNECTIONS, options)


class Database:
    def __init__(self, options: DatabaseOptions) -> None:
        url = driver_url(options.url)
        self.is_postgresql = url.get_backend_name() == "postgresql"
        self.lock_timeout_seconds = options.lock_timeout_seconds
        self.file = None if self.is_postgresql else Path(url.database or "")
        self.engine = _postgresql_engine(url, options) if self.is_postgresql else _sqlite_engine(url, options)
        self._readers: Readers[Any] = (
            _postgres_readers(url, options) if self.file is None else _sqlite_readers(self.file, options)
        )
        self._posting_pool = _posting_pool(url, options) if self.is_postgresql else None
        # SQLite has one writer at a time. Waiting here is fair and free; waiting in SQLite's busy loop is neither.
        self._writer = None if self.is_postgresql else asyncio.Lock()
        # A write locks its accounts, then reads what others have committed. A stricter default_transaction_isolation of
        # the server would make it fail, so BEGIN names the level.
        self._write_isolation = {"isolation_level": "READ COMMITTED"} if self.is_postgresql else {}
        self._arguments = _connect_arguments(url, options) if self.is_postgresql else {}
        self.changes = ChangeFeed(
            LedgerReader(self.read, postgresql=self.is_postgresql),
            SqliteSignals(self.file) if self.file is not None else PostgresSignals(self._arguments),
        )

    def worker_lock(self) -> WorkerLock:
        return AdvisoryLock(self._arguments) if self.file is None else FileLock(self.file)

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
        posted: set[int] = set()
        async with self._writer or contextlib.nullcontext():
            with translated():
                async with self.engine.connect() as connection:
                    await connection.execution_options(
                        billing_write=True, **{POSTED_ACCOUNTS: posted}, **self._write_isolation
                    )
                    async with connection.begin():
                        yield connection
        if posted:
            self.changes.announce(posted)

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
        await self.engine.dispose()
