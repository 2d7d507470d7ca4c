"""One database: its engine, read snapshots and write transactions, on SQLite or PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Executable, event, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from db.errors import translated

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry


# The transaction of a write, as the layers above hand it on without looking inside.
WriteConnection = AsyncConnection


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    url: str
    pool_size: int = 10
    statement_timeout_seconds: float = 30.0
    lock_timeout_seconds: float = 10.0


def sqlite_url(path: Path) -> str:
    return URL.create("sqlite+aiosqlite", database=str(path)).render_as_string(hide_password=False)


def driver_url(url: str) -> URL:
    """The URL with the asynchronous driver that this program uses; `ValueError` for any other database."""
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return parsed.set(drivername="sqlite+aiosqlite")
    if backend in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+asyncpg")
    msg = f"a sqlite or postgresql database is needed, not {backend}"
    raise ValueError(msg)


def _contains_text(text: str | None, part: str) -> bool:
    """SQLite's own LIKE and lower() know the letters of ASCII alone."""
    return text is not None and part.casefold() in text.casefold()


def _sqlite_engine(url: URL, options: DatabaseOptions) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=options.pool_size,
        max_overflow=0,
        pool_timeout=options.lock_timeout_seconds,
        connect_args={"timeout": options.lock_timeout_seconds},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        # The driver emits no BEGIN before a SELECT, so two reads of one transaction could see different data:
        # transaction control is taken from it, and BEGIN emitted below.
        connection.isolation_level = None
        cursor = connection.cursor()
        # A commit that was acknowledged survives a power cut too: FULL, though WAL would allow NORMAL.
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "cache_size = -32768",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        connection.create_function("contains_text", 2, _contains_text, deterministic=True)

    @event.listens_for(engine.sync_engine, "invalidate")
    def release(connection: DBAPIConnection, _record: ConnectionPoolEntry, _error: BaseException | None) -> None:
        # A write that was cancelled gives its connection up with the transaction open: it must not keep the lock.
        connection.rollback()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
            return
        mode = "IMMEDIATE" if connection.get_execution_options().get("billing_write") else "DEFERRED"
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def _postgresql_engine(url: URL, options: DatabaseOptions) -> AsyncEngine:
    return create_async_engine(
        url,
        pool_size=options.pool_size,
        max_overflow=0,
        pool_timeout=options.lock_timeout_seconds,
        pool_pre_ping=False,
        connect_args={
            "timeout": options.lock_timeout_seconds,
            "server_settings": {
                "application_name": "billing-gateway",
                "jit": "off",
                "timezone": "UTC",
                "statement_timeout": str(int(options.statement_timeout_seconds * 1000)),
                "lock_timeout": str(int(options.lock_timeout_seconds * 1000)),
                "idle_in_transaction_session_timeout": "60000",
            },
        },
    )


class Snapshot:
    """The statements of one query, one after the other on one connection in one read-only transaction.

    The connection is taken at the first statement. Sibling resolvers may call `rows` side by side.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.is_postgresql = database.is_postgresql
        self._lock = asyncio.Lock()
        self._connection: AsyncConnection | None = None
        self._closed = False

    async def rows(self, statement: Executable, parameters: dict[str, Any] | None = None) -> Sequence[Any]:
        async with self._lock:
            with translated():
                if self._connection is None:
                    assert not self._closed, "the snapshot is closed"
                    self._connection = await self._database.begin_read()
                return (await self._connection.execute(statement, parameters)).fetchall()

    async def close(self) -> None:
        async with self._lock:
            self._closed = True
            connection, self._connection = self._connection, None
        if connection is not None:
            # Shielded: a client that leaves must not leave its connection half returned.
            await asyncio.shield(connection.close())


class Database:
    def __init__(self, options: DatabaseOptions) -> None:
        url = driver_url(options.url)
        self.is_postgresql = url.get_backend_name() == "postgresql"
        self.engine = _postgresql_engine(url, options) if self.is_postgresql else _sqlite_engine(url, options)
        # SQLite has one writer at a time: waiting here is fair and costs nothing, waiting in its busy loop is not.
        self._writer = None if self.is_postgresql else asyncio.Lock()
        # A write locks its accounts, then reads what others committed meanwhile. Under a server's stricter
        # default_transaction_isolation it would fail instead, so BEGIN itself names the level.
        self._write_isolation = {"isolation_level": "READ COMMITTED"} if self.is_postgresql else {}

    async def begin_read(self) -> AsyncConnection:
        connection = await self.engine.connect()
        try:
            if self.is_postgresql:
                await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        except BaseException:
            await connection.close()
            raise
        return connection

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        snapshot = Snapshot(self)
        try:
            yield snapshot
        finally:
            await snapshot.close()

    async def read(self, statement: Executable, parameters: dict[str, Any] | None = None) -> Sequence[Any]:
        """The rows of a single statement, outside any transaction."""
        with translated():
            async with self.engine.connect() as connection:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                return (await connection.execute(statement, parameters)).fetchall()

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[WriteConnection]:
        """One read-write transaction: committed at the end, rolled back whole when anything is raised."""
        async with self._writer or contextlib.nullcontext():
            with translated():
                async with self.engine.connect() as connection:
                    await connection.execution_options(billing_write=True, **self._write_isolation)
                    async with connection.begin():
                        yield connection

    async def close(self) -> None:
        await self.engine.dispose()
