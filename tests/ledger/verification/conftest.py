from __future__ import annotations

import pytest

from db.database import Database
from tests.ledger.desk import Desk
from tests.ledger.verification.filled import Filled, filled


@pytest.fixture
async def desk(database: Database) -> Desk:
    return Desk(database)


@pytest.fixture
async def ledger(desk: Desk) -> Filled:
    return await filled(desk)
