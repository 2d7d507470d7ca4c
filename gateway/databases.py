"""The databases of the settings, for commands that need no other part."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from db.connections.urls import DatabaseUrls
from db.database import Database, DatabaseOptions
from db.errors import DatabaseUnavailable, SchemaMismatch
from db.schema_version import Tables, check, check_migratable
from db.shard_set import check_direct, check_forming, check_set
from db.shards import join
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.tracing import Tracing


def open_databases(settings: Settings, *, direct: bool = False, tracing: Tracing | None = None) -> tuple[Database, ...]:
    """Returns the database, or those of all shards in their order. `direct` leaves out the pooler, if there is one."""
    databases = tuple(_open(settings, urls, direct=direct, tracing=tracing) for urls in settings.database_urls)
    if len(databases) > 1:
        join(databases)
        for database in databases[1:]:
            # Ids of accounts are unique in the set, and so are their folders.
            database.archive.share(databases[0].archive)
    return databases


def _open(settings: Settings, urls: DatabaseUrls, *, direct: bool, tracing: Tracing | None) -> Database:
    straight = urls.direct or urls.url
    return Database(
        DatabaseOptions(
            url=straight if direct else urls.url,
            direct_url=None if direct or straight == urls.url else straight,
            read_urls=() if direct else urls.read,
            max_lag_seconds=settings.max_replica_lag_seconds,
            pool_size=settings.pool_size,
            statement_timeout_seconds=settings.statement_timeout_seconds,
            lock_timeout_seconds=settings.lock_timeout_seconds,
            silence_seconds=settings.database_silence_seconds,
            archive_url=settings.archive_url,
            trace=None if tracing is None else tracing.statement,
        )
    )


async def check_before_migrating(settings: Settings) -> None:
    """Raises SchemaMismatch or DatabaseUnavailable if the databases cannot be migrated, or made one set. Writes
    nothing."""
    async with opened_databases(settings) as databases:
        await check_direct(databases)
    async with opened_databases(settings, direct=True) as databases:
        found = []
        for database in databases:
            with shard_named(database):
                found.append(await check_migratable(database))
        await check_forming(databases, found)


@contextlib.asynccontextmanager
async def opened_databases(settings: Settings, *, direct: bool = False) -> AsyncIterator[tuple[Database, ...]]:
    """Yields the databases of the settings unchecked, and closes them."""
    databases = open_databases(settings, direct=direct)
    try:
        yield databases
    finally:
        for database in databases:
            await database.close()


@contextlib.asynccontextmanager
async def checked_databases(settings: Settings) -> AsyncIterator[tuple[Database, ...]]:
    """Yields the databases of the settings. Raises SchemaMismatch if this program cannot work on their tables, or if
    they are not one set."""
    async with opened_databases(settings) as databases:
        await check_databases(databases)
        yield databases


async def check_databases(databases: tuple[Database, ...]) -> list[Tables]:
    """Raises as `checked_databases` does."""
    tables = []
    for database in databases:
        with shard_named(database):
            tables.append(await check(database))
    await check_set(databases[0])
    return tables


@contextlib.contextmanager
def shard_named(database: Database) -> Iterator[None]:
    """Names the shard, if there is a set, in what is wrong with it."""
    try:
        yield
    except (DatabaseUnavailable, SchemaMismatch) as error:
        if database.place is None:
            raise
        raise type(error)(f"shard {database.place.number}: {error}") from error
