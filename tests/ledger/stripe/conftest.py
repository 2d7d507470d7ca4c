from __future__ import annotations

import pytest

from db.database import Database
from tests.ledger.stripe.till import Till


@pytest.fixture
async def till(database: Database) -> Till:
    return Till(database)
