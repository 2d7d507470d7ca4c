"""One database of each kind for all tests here: every example makes accounts of its own."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from db.database import Database, DatabaseOptions, sqlite_url
from tests.postgres import Postgres


@pytest.fixture(scope="session")
async def sqlite_ledgers(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    path = tmp_path_factory.mktemp("resolvers") / "billing.db"
    shutil.copy(sqlite_template, path)
    database = Database(DatabaseOptions(sqlite_url(path)))
    yield database
    await database.close()


@pytest.fixture(scope="session")
async def postgresql_ledgers(postgres_server: Postgres, postgres_template: str) -> AsyncIterator[Database]:
    database = Database(DatabaseOptions(postgres_server.url(await postgres_server.new_database(postgres_template))))
    yield database
    await database.close()


@pytest.fixture
def ledgers(backend: str, request: pytest.FixtureRequest) -> Database:
    found = request.getfixturevalue(f"{backend}_ledgers")
    assert isinstance(found, Database)
    return found
