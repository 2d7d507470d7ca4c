from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from db.database import Database, DatabaseOptions
from tests.copies import Copies
from tests.ledger.desk import Desk
from tests.ledger.verification.filled import Filled, filled


@pytest.fixture
async def desk(database: Database) -> Desk:
    return Desk(database)


async def _fill(database: Database) -> Filled:
    return await filled(Desk(database))


@pytest.fixture
async def ledger(copies: Copies) -> AsyncIterator[Filled]:
    url, kept = await copies.of(_fill)
    database = Database(DatabaseOptions(url))
    desk = Desk(database)
    desk.now = kept.desk.now
    yield replace(kept, desk=desk)
    await database.close()
