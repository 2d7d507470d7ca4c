from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import ClientSession, web

from access.keys import IssuedKey, Keys, KeyScope, NewKey
from gateway.app import build_app
from gateway.commands.options import settings_of
from gateway.protocol import Runner
from gateway.services import Services, build_services
from gateway.streams.source import Answers
from ledger.accounts import Accounts
from tests.gateway.streams.tap import Tap


@dataclass
class Gateway:
    services: Services
    tap: Tap
    runner: Runner
    session: ClientSession
    port: int
    account_id: int
    key: str
    keys: Keys

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/graphql"

    @property
    def connections(self) -> int:
        assert self.runner.server is not None
        return len(self.runner.server.connections)

    async def new_key(self) -> IssuedKey:
        return await self.keys.create(NewKey(KeyScope.READ, "tests", self.account_id))

    def metric(self, name: str, **labels: str) -> float | None:
        self.services.metrics.text()
        return self.services.metrics.registry.get_sample_value(name, labels)


Serve = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def serve(database_url: str) -> AsyncIterator[Serve]:
    """Serves with these settings, its subscriptions from a tap if from nothing else."""
    async with AsyncExitStack() as stack:

        async def served(answers: Answers | None = None, **settings: Any) -> Gateway:
            given = {"database_url": database_url, "key_cache_seconds": 0, "shutdown_seconds": 5} | settings
            services, tap = build_services(settings_of(given)), Tap()
            row = await Accounts(services.database).create("One")
            keys = Keys(services.database)
            key = await keys.create(NewKey(KeyScope.READ, "tests", row.id))
            runner = Runner(
                build_app(services, answers or tap.answers), shutdown_timeout=services.settings.shutdown_seconds
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            session = await stack.enter_async_context(ClientSession())
            return Gateway(services, tap, runner, session, runner.addresses[0][1], row.id, key.secret, keys)

        yield served


@pytest.fixture
async def gateway(serve: Serve) -> Gateway:
    return await serve()
