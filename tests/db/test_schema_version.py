from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from db.database import Database, DatabaseOptions, sqlite_url
from db.errors import SchemaOutdated
from db.schema_version import check, migrate, newest
from db.tables import metadata


async def test_the_migrations_make_exactly_the_tables(database: Database) -> None:
    def differences(connection: Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_migrating_again_changes_nothing(database: Database) -> None:
    assert await migrate(database) == (newest(), newest())
    await check(database)


async def test_an_empty_database_is_refused_with_the_command(tmp_path: Path) -> None:
    database = Database(DatabaseOptions(sqlite_url(tmp_path / "empty.db")))
    with pytest.raises(SchemaOutdated, match="run `billing-gateway migrate`"):
        await check(database)
    await database.close()


async def test_tables_of_a_newer_program_are_refused(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaOutdated, match="newer than this program"):
        await check(database)
