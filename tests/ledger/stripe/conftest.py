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
async def api(stand_in: StandIn) -> AsyncIterator[StripeApi]:
    built = build_stripe_api(settings_of(settings(stand_in, stripe_timeout_seconds=0.3)))
    assert built is not None
    yield built
    await built.close()
