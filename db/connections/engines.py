"""Engines and pools of connections: on SQLite, on PostgreSQL, and on PostgreSQL behind a pooler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sqlalchemy import URL, event, exc
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from db.connections import sqlite
from db.connections.pool import ReadPool
from db.connections.pooled import KEPT_SETTINGS, POOLED_ARGUMENTS, pooled
from db.connections.postgresql import PostgresConnection
from db.connections.readers import PostgresBatchRunner, Readers, SqliteBatchRunner
from db.connections.servers import Servers
from db.connections.sqlite import SqliteConnection, keep_private, prepare
from db.connections.traced import Trace, trace_engine, traced, traced_sqlite
from db.connections.urls import connect_arguments, driver_url
from db.figures import Figures

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

CHECK_SECONDS: Final = 1.0
"""How long one statement of a check may take, or its wait for SQLite's lock: longer than any write of the gateway."""
CHECK_LOCK_SECONDS: Final = 0.7

POSTING_CONNECTIONS: Final = 3

# Reads that are sent as one statement may be longer than what the driver keeps prepared by default.
_MAX_KEPT_STATEMENT_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    url: str
    pool_size: int = 10
    statement_timeout_seconds: float = 30.0
    lock_timeout_seconds: float = 10.0
    silence_seconds: float = 2.0
    """How long a server may not answer at all until it counts as down."""
    direct_url: str | None = None
    """PostgreSQL without the pooler that `url` reaches. None means that there is no pooler."""
    read_urls: tuple[str, ...] = ()
    """Replicas, for reads of clients that send their position."""
    max_lag_seconds: float = 10.0
    """How far a replica may be behind."""
    archive_url: str | None = None
    """The storage of archived ledger rows. Without it, what needs them is refused."""
    trace: Trace | None = None
    """Told of each statement of the pools."""


Connect: TypeAlias = "Callable[[], Coroutine[Any, Any, PostgresConnection]]"
Check: TypeAlias = "Callable[[PostgresConnection], Awaitable[None]]"
"""Is called with each new connection; raises DatabaseUnavailable where it must not be read."""
PostgresPool: TypeAlias = "ReadPool[PostgresConnection]"


def sqlite_engine(url: URL, options: DatabaseOptions) -> AsyncEngine:
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

    if options.trace is not None:
        trace_engine(engine, options.trace)
    return engine


def sqlite_readers(file: Path, options: DatabaseOptions) -> Readers[SqliteConnection]:
    connect = partial(
        sqlite.connect,
        file,
        lock_seconds=options.lock_timeout_seconds,
        longest_seconds=options.statement_timeout_seconds,
        connection_class=SqliteConnection if options.trace is None else traced_sqlite(options.trace),
    )
    return Readers(ReadPool(connect, options.pool_size, options.lock_timeout_seconds), SqliteBatchRunner())


def _settings(options: DatabaseOptions) -> dict[str, str]:
    return {
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
    }


class PostgresRoute:
    """The way to the servers of one URL: straight, or through a pooler."""

    def __init__(
        self, url: str, options: DatabaseOptions, figures: Figures, *, behind: PostgresRoute | None = None
    ) -> None:
        """`behind` is the straight way, if `url` leads through a pooler."""
        through_pooler = behind is not None
        self._url = driver_url(url)
        self._options = options
        self._settings = _settings(options)
        self._through_pooler = through_pooler
        kept = {name: value for name, value in self._settings.items() if name in KEPT_SETTINGS}
        arguments = connect_arguments(self._url) | {"server_settings": kept if through_pooler else self._settings}
        if through_pooler:
            arguments |= POOLED_ARGUMENTS
        self.servers: Servers = Servers(
            arguments,
            options.silence_seconds,
            options.statement_timeout_seconds,
            figures,
            behind=None if behind is None else behind.servers,
        )

    def _connecting(self, changed: Mapping[str, str], *, each_in_transaction: bool = False) -> dict[str, Any]:
        """Returns the options of a connection with these settings, beside those that all have."""
        settings = {**self._settings, **changed}
        options: dict[str, Any] = (
            {"connection_class": pooled(settings, each_in_transaction=each_in_transaction)}
            if self._through_pooler
            else {"server_settings": settings}
        )
        if self._options.trace is not None:
            kind = options.get("connection_class", PostgresConnection)
            options["connection_class"] = traced(kind, self._options.trace)
        return options

    def writing_engine(self) -> AsyncEngine:
        wait_seconds = self._options.lock_timeout_seconds
        connect = partial(self.servers.connect_patiently, wait_seconds, **self._connecting({}))
        return self._engine(connect, size=self._options.pool_size, wait_seconds=wait_seconds)

    def checking_engine(self) -> AsyncEngine:
        """With one connection, which is there when the server has no other left to give."""
        limits = {
            "statement_timeout": str(round(CHECK_SECONDS * 1000)),
            "lock_timeout": str(round(CHECK_LOCK_SECONDS * 1000)),
        }
        options = self._connecting(limits)

        async def connect() -> PostgresConnection:
            connection = await self.servers.connect(**options)
            connection.is_kept = True
            return connection

        return self._engine(connect, size=1, wait_seconds=CHECK_SECONDS)

    def _engine(self, connect: Connect, *, size: int, wait_seconds: float) -> AsyncEngine:
        def create() -> Any:
            dialect: Any = engine.dialect
            # `str` makes empty names.
            kept = {"prepared_statement_cache_size": 0, "prepared_statement_name_func": str}
            return dialect.dbapi.connect(async_creator_fn=connect, **(kept if self._through_pooler else {}))

        engine = create_async_engine(
            # The rest of the URL is the servers': SQLAlchemy would hand `sslmode` on, which asyncpg doesn't know.
            self._url.set(query={}),
            pool_size=size,
            max_overflow=0,
            pool_timeout=wait_seconds,
            pool_pre_ping=False,
            creator=create,
        )
        _lend(engine)
        return engine

    def readers(self, check: Check | None = None) -> Readers[Any]:
        # PostgreSQL takes a limit that is a parameter for a tenth of the rows. On a long ledger, this estimate would
        # make it plan each page again, which costs more than reading the page. tests/db/test_page_costs.py shows that
        # the reused plan reads no more rows.
        connecting = self._connecting({"plan_cache_mode": "force_generic_plan"})
        connect = partial(self.servers.connect, max_cacheable_statement_size=_MAX_KEPT_STATEMENT_BYTES, **connecting)
        checked = connect if check is None else partial(_checked, connect, check)
        return Readers(self._pool(checked, self._options.pool_size), PostgresBatchRunner())

    def posting_pool(self) -> PostgresPool:
        # Posting finds a few rows by key in tables that may be small and full of old versions when the plan is made,
        # and long when it is used. So it is planned once, by keys only.
        by_keys = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "enable_bitmapscan": "off"}
        connecting = self._connecting(by_keys, each_in_transaction=True)
        return self._pool(partial(self.servers.connect, **connecting), POSTING_CONNECTIONS)

    def _pool(self, connect: Connect, size: int) -> PostgresPool:
        return ReadPool(connect, size, self._options.lock_timeout_seconds)


async def _checked(connect: Connect, check: Check) -> PostgresConnection:
    connection = await connect()
    try:
        await check(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


def _lend(engine: AsyncEngine) -> None:
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
