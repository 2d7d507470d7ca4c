from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.gateway.mutations.office import Office, opened


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with opened(database_url) as office:
        yield office
