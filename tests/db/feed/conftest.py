from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from db.database import Database, DatabaseOptions
from tests.ledger.desk import Desk


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


@pytest.fixture
async def other_desk(database_url: str) -> AsyncIterator[Desk]:
    """Another process's, as far as the feed can tell: it shares nothing but the database."""
    database = Database(DatabaseOptions(database_url))
    yield Desk(database)
    await database.close()
