from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from db.database import Database, DatabaseOptions


@pytest.fixture
async def sqlite_database(sqlite_file_url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseOptions(sqlite_file_url))
    yield database
    await database.close()
