from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from db.database import Database
from gateway.commands.options import settings_of
from gateway.stripe_http import build_stripe_api
from ledger.stripe.api import StripeApi
from tests.ledger.stripe.till import Till
from tests.stripe_stand_in import StandIn, settings, standing_in


@pytest.fixture
async def till(database: Database) -> Till:
    return Till(database)


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    async with standing_in() as one:
        yield one


@pytest.fixture
def stripe_timeout_seconds() -> float:
    """Longer than a busy machine needs. `stripe_hangs` shortens it."""
    return 20


@pytest.fixture
async def api(stand_in: StandIn, stripe_timeout_seconds: float) -> AsyncIterator[StripeApi]:
    built = build_stripe_api(settings_of(settings(stand_in, stripe_timeout_seconds=stripe_timeout_seconds)))
    assert built is not None
    yield built
    await built.close()
