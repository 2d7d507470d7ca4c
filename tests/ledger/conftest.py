from __future__ import annotations

import pytest

from db.database import Database
from tests.ledger.desk import Desk


@pytest.fixture
async def desk(database: Database) -> Desk:
    return Desk(database)
