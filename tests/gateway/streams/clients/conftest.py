from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from console.build import install
from tests.gateway.streams.clients.ledger_accounts import Accountant
from tests.gateway.streams.clients.partners import EXAMPLES
from tests.gateway.streams.clients.processes import GatewayProcess


@pytest.fixture(scope="session", autouse=True)
def packages() -> None:
    """What the examples' lock file names."""
    install(EXAMPLES)


@pytest.fixture
async def accountant(database_url: str) -> AsyncIterator[Accountant]:
    accountant = Accountant(database_url)
    yield accountant
    await accountant.database.close()


@pytest.fixture
async def gateway(database_url: str, tmp_path: Path) -> AsyncIterator[GatewayProcess]:
    gateway = GatewayProcess(database_url, tmp_path, key_cache_seconds=0)
    await gateway.start()
    yield gateway
    await gateway.kill()
