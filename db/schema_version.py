"""Bringing the tables to the newest version, and refusing to serve on any other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from db.errors import SchemaOutdated, translated

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from db.database import Database

# Migrations that start at the same moment from several processes wait for each other.
_MIGRATION_LOCK = 7_245_310_904


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def newest() -> str:
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None
    return revision


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


async def migrate(database: Database) -> tuple[str | None, str]:
    """The version before and after."""
    async with database.write() as connection:
        if database.is_postgresql:
            await connection.execute(text("SET LOCAL statement_timeout = 0"))
            await connection.execute(text("SET LOCAL lock_timeout = 0"))
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        before = await connection.run_sync(_current)
        await connection.run_sync(_upgrade)
    return before, newest()


async def check(database: Database) -> None:
    """Raises SchemaOutdated, which names the command to run, unless the tables are of this program's version."""
    current: str | None = None
    # To look into a file that is not there would make an empty one.
    if database.file is None or database.file.exists():
        with translated():
            async with database.engine.connect() as connection:
                current = await connection.run_sync(_current)
    if current is None:
        raise SchemaOutdated("the database has no tables yet: run `billing-gateway migrate`")
    if current != newest():
        known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
        if current in known:
            msg = (
                f"the database's tables are of version {current}, this program needs {newest()}:"
                " run `billing-gateway migrate`"
            )
        else:
            msg = f"the database's tables are of version {current}, newer than this program: update the program"
        raise SchemaOutdated(msg)
