"""Schema version: migrates the tables to this program's version, and checks whether it can work on other versions.

A new release migrates while processes of the release before still serve. They do not know its migrations. So each
migration names the oldest program that can work on the tables after it, and the database stores that name
(`schema_compatibility`). A program can work on the tables if it knows that name.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, exc, inspect, select, text, update

from db.concurrent_indexes import build_missing, build_now
from db.errors import DatabaseUnavailable, LockUnavailable, SchemaMismatch, translate, translated
from db.tables import schema_compatibility

if TYPE_CHECKING:
    from alembic.script import Script
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

    from db.connections.postgresql import PostgresConnection
    from db.database import Database

# Concurrent migrations of several processes wait for this lock.
_MIGRATION_LOCK: Final = 7_245_310_904
_LOCK_MILLISECONDS: Final = 1_000
_RETRY_SECONDS: Final = 1.0
LOCKED_SECONDS: Final = 900.0
"""How long a migration tries to lock a table that others use all the time."""

log = structlog.get_logger()

NO_TABLES: Final = "the database has no tables yet: run `billing-gateway migrate`"
_NOT_OURS = "the database's tables are not those of this program: check the database's URL"
_ALWAYS_THERE: Final = frozenset({"accounts", "holds", "transactions"})
"""Tables of each version. Another program may number its versions in the same way."""
_STANDBY: Final = "the database is a standby, which takes no writes: name the primary in the database's URL"

_IN_RECOVERY: Final = text("SELECT pg_is_in_recovery()")
_VERSIONS: Final = "alembic_version"
# Tables of extensions, such as those of PostGIS, are there before any program comes.
_POSTGRES_TABLES: Final = text(
    "SELECT relname::text FROM pg_class"
    " WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
    " AND relkind IN ('r', 'p', 'f') AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass"
    " AND objid = pg_class.oid AND deptype = 'e') ORDER BY relname"
)
_SQLITE_TABLES: Final = text(
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*' ORDER BY name"
)


@dataclass(frozen=True, slots=True)
class Tables:
    """Tables that this program can work on."""

    version: str
    program: str
    """The version to which this program would migrate the tables."""

    @property
    def are_newer(self) -> bool:
        return self.version != self.program

    def __str__(self) -> str:
        if not self.are_newer:
            return f"the database's tables are of version {self.version}"
        return (
            f"the database's tables are of version {self.version}, newer than this program's {self.program},"
            " which can work on them"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


@lru_cache(maxsize=1)
def _migrations() -> Sequence[Script]:
    """Returns the migrations, oldest first."""
    return tuple(ScriptDirectory.from_config(_config()).walk_revisions())[::-1]


@lru_cache(maxsize=1)
def _known() -> Sequence[str]:
    return tuple(script.revision for script in _migrations())


def newest() -> str:
    return _known()[-1]


def oldest_program(version: str | None = None) -> str:
    """Returns the version of the oldest program that can work on the tables of a version, by default of this
    program's."""
    scripts = _migrations()[: _known().index(version or newest()) + 1]
    named = [getattr(script.module, "OLDEST_PROGRAM", script.revision) for script in scripts]
    return max(named, key=_known().index)


def concurrent_indexes(version: str) -> Mapping[str, str]:
    """Returns the indexes that migrations up to the version add to tables in use: what stands after `ON`, by name."""
    scripts = _migrations()[: _known().index(version) + 1]
    return {name: on for script in scripts for name, on in getattr(script.module, "CONCURRENT_INDEXES", {}).items()}


def _upgrade(connection: Connection, version: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, version)
    except (exc.ProgrammingError, exc.OperationalError) as error:
        # A table of the same name already exists, or differs from what was expected.
        raise translate(error) or SchemaMismatch(_NOT_OURS) from error
    if connection.dialect.name == "sqlite":
        build_now(connection, concurrent_indexes(version))
    if inspect(connection).has_table(schema_compatibility.name):
        require_program(connection, oldest_program(version))


def require_program(connection: Connection, version: str) -> None:
    """Marks the tables as ones that only programs of this version, or of a later one, can work on."""
    stored = connection.scalar(select(schema_compatibility.c.oldest_program))
    # Rows in the archive may ask for a newer program than the tables do.
    if stored not in _known() or _known().index(stored) < _known().index(version):
        connection.execute(update(schema_compatibility).values(oldest_program=version))


def _current(connection: Connection) -> str | None:
    """Returns the tables' version; None without tables. Raises SchemaMismatch if they belong to another program."""
    try:
        versions = MigrationContext.configure(connection).get_current_heads()
    except exc.DBAPIError as error:
        raise translate(error) or SchemaMismatch(_NOT_OURS) from error
    if len(versions) > 1:
        raise SchemaMismatch(_NOT_OURS)
    return versions[0] if versions else None


def _check_newer(connection: Connection, version: str) -> None:
    """Raises SchemaMismatch unless tables of an unknown version are marked as compatible with this program."""
    if not inspect(connection).has_table(schema_compatibility.name):
        raise SchemaMismatch(_NOT_OURS)
    if connection.scalar(select(schema_compatibility.c.oldest_program)) not in _known():
        msg = (
            f"the database's tables are of version {version}, newer than this program's {newest()},"
            " which cannot work on them: update the program"
        )
        raise SchemaMismatch(msg)


def _table_names(connection: Connection) -> Sequence[str]:
    statement = _POSTGRES_TABLES if connection.dialect.name == "postgresql" else _SQLITE_TABLES
    return [name for (name,) in connection.execute(statement) if name != _VERSIONS]


def _tables(connection: Connection) -> Tables | None:
    """Returns the tables; None if there are none. Raises SchemaMismatch."""
    version = _current(connection)
    if version is None:
        others = _table_names(connection)
        if others:
            msg = f"{_NOT_OURS} (table {others[0]})"
            raise SchemaMismatch(msg)
        return None
    if version not in _known():
        _check_newer(connection, version)
    return Tables(version, newest())


def _tables_to_migrate(connection: Connection) -> Tables | None:
    found = _tables(connection)
    if found is not None and not _ALWAYS_THERE.issubset(_table_names(connection)):
        raise SchemaMismatch(_NOT_OURS)
    return found


def _tables_of_file(file: Path) -> Tables | None:
    """Leaves the file as it is. Any other connection would set its journal mode."""
    if not file.exists():
        # Connecting would create an empty one.
        return None
    connect = partial(sqlite3.connect, f"{file.absolute().as_uri()}?mode=ro", uri=True)
    engine = create_engine("sqlite://", creator=connect)
    try:
        with translated(), engine.connect() as connection:
            return _tables_to_migrate(connection)
    finally:
        engine.dispose()


async def check_migratable(database: Database) -> Tables | None:
    """Returns the tables that `migrate` would begin with; None if there are none. Writes nothing.

    Raises SchemaMismatch for tables of another program, or of a version that this program cannot work on, and
    DatabaseUnavailable, also for a standby.
    """
    if database.file is not None:
        return await asyncio.to_thread(_tables_of_file, database.file)
    with translated():
        async with database.engine.connect() as connection:
            if (await connection.execute(_IN_RECOVERY)).scalar_one():
                raise DatabaseUnavailable(_STANDBY)
            return await connection.run_sync(_tables_to_migrate)


async def _without_limit(connection: AsyncConnection) -> None:
    """PostgreSQL: statements on the connection may take any time, as far as this process is concerned."""
    driver_connection: PostgresConnection | None = (await connection.get_raw_connection()).driver_connection
    assert driver_connection is not None
    driver_connection.max_seconds = None


async def migrate(database: Database) -> tuple[str | None, Tables]:
    """Creates the tables, or migrates them, each version in a transaction of its own. Returns their version before, and
    the tables after.

    On PostgreSQL, indexes of tables in use are built afterwards. Newer tables are not changed. Raises SchemaMismatch if
    this program cannot work on them, and LockUnavailable if other transactions keep a table locked for too long.
    """
    before = found = await _migrated_once(database)
    while found is None or found.version in _known()[:-1]:
        found = await _migrated_once(database)
    await _build_indexes(database)
    return (before.version if before else None), found


async def _build_indexes(database: Database) -> None:
    indexes = concurrent_indexes(newest())
    if not database.is_postgresql or not indexes:
        return
    with translated():
        async with database.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await _without_limit(connection)
            for setting in ("statement_timeout", "lock_timeout"):
                await connection.execute(text(f"SET {setting} = 0"))
            try:
                await build_missing(connection, indexes)
            finally:
                # Nobody gets it with these settings.
                await connection.invalidate()


async def _migrated_once(database: Database) -> Tables | None:
    """Creates the tables, or migrates them to the next version, unless they are as new as this program. Returns what
    they were before; None without tables."""
    until = asyncio.get_running_loop().time() + LOCKED_SECONDS
    while True:
        try:
            async with database.write() as connection:
                if database.is_postgresql:
                    await _prepare(connection)
                before = await connection.run_sync(_tables_to_migrate)
                version = _next(before)
                if version is not None:
                    await connection.run_sync(_upgrade, version)
                return before
        except LockUnavailable:
            if asyncio.get_running_loop().time() > until:
                raise
            log.warning("a table is locked by another transaction: the migration tries again")
        # Others get their turn on the table meanwhile.
        await asyncio.sleep(_RETRY_SECONDS)


def _next(before: Tables | None) -> str | None:
    """Returns the version to migrate the tables to; None where this program knows none."""
    if before is None:
        return newest()
    later = _known()[_known().index(before.version) + 1 :] if before.version in _known() else ()
    return later[0] if later else None


async def _prepare(connection: AsyncConnection) -> None:
    """PostgreSQL: waits for other migrations. A change of a table that waits for its lock lets nobody else on the
    table. So it waits briefly."""
    await _without_limit(connection)
    await connection.execute(text("SET LOCAL statement_timeout = 0"))
    await connection.execute(text("SET LOCAL lock_timeout = 0"))
    await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
    await connection.execute(text(f"SET LOCAL lock_timeout = {_LOCK_MILLISECONDS}"))


def _checked(found: Tables | None) -> Tables:
    """Returns the tables. Raises SchemaMismatch, which says what to do, if this program cannot work on them."""
    if found is None:
        raise SchemaMismatch(NO_TABLES)
    if found.version in _known()[:-1]:
        msg = (
            f"the database's tables are of version {found.version}, this program needs {found.program}:"
            " run `billing-gateway migrate`"
        )
        raise SchemaMismatch(msg)
    return found


def tables_of(connection: Connection) -> Tables:
    """Raises SchemaMismatch, as `check`."""
    return _checked(_tables(connection))


async def check(database: Database) -> Tables:
    """Returns the tables. Raises SchemaMismatch, which says what to do, if this program cannot work on them."""
    found: Tables | None = None
    # Connecting to a missing file would create an empty one.
    if database.file is None or database.file.exists():
        with translated():
            async with database.engine.connect() as connection:
                found = await connection.run_sync(_tables)
    return _checked(found)
