"""Points that all processes share in Redis: together they spend the rate, and while Redis is away each goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from access.keys import Keys, KeyScope, NewKey
from gateway import shared_rates
from gateway.app import build_app
from gateway.commands.options import settings_of
from gateway.rates import Buckets, Rate, RateExceeded
from gateway.services import build_services
from gateway.shared_rates import SharedBuckets, is_usable
from tests.gateway.command_line import run
from tests.redis_server import PASSWORD, RedisServer, needs_redis, started

pytestmark = needs_redis

RATE = Rate(20_000, 20_000)
"""With room for the points of a second: a busy machine may stop a process for so long."""
SECONDS = 1.5


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with started() as server:
        yield server


class Process:
    """The buckets of one process, with the count of calls for which Redis did not answer."""

    def __init__(self, url: str, timeout_seconds: float = 5) -> None:
        self.fallbacks = 0
        self.buckets = SharedBuckets(url, timeout_seconds, Buckets(), self._fell_back)

    def _fell_back(self) -> None:
        self.fallbacks += 1

    async def spend_until(self, end: float, points: float) -> float:
        spent = 0.0
        while time.monotonic() < end:
            try:
                await self.buckets.spend("key", points, RATE)
                spent += points
            except RateExceeded:
                await asyncio.sleep(0.005)
        return spent


@pytest.fixture
async def process(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Process]:
    monkeypatch.setattr(shared_rates, "AWAY_SECONDS", 0.1)
    process = Process(redis.url)
    yield process
    await process.buckets.close()


async def test_four_processes_spend_the_rate_of_one(redis: RedisServer) -> None:
    processes = [Process(redis.url) for _ in range(4)]
    began = time.monotonic()
    spent = sum(await asyncio.gather(*(one.spend_until(began + SECONDS, 200) for one in processes)))
    allowed = RATE.burst + (time.monotonic() - began) * RATE.points_per_second
    assert [one.fallbacks for one in processes] == [0, 0, 0, 0]
    assert 0.5 * allowed <= spent <= allowed  # nearly all of it, on a machine that is not busy
    for one in processes:
        await one.buckets.close()


async def test_a_shared_bucket_works_like_one_of_a_process(process: Process) -> None:
    """A call beyond the burst needs a full bucket, a refusal costs nothing, and the time that it tells is enough."""
    rate = Rate(40, 50)
    assert await process.buckets.spend("like", 70, rate) == (rate, -20)
    with pytest.raises(RateExceeded) as refused:
        await process.buckets.spend("like", 70, rate)
    assert -20 <= refused.value.balance.remaining < 50
    await asyncio.sleep(refused.value.retry_after_seconds)
    assert (await process.buckets.spend("like", 70, rate)).remaining == -20


async def test_nothing_is_refused_because_redis_is_away(redis: RedisServer, process: Process) -> None:
    rate = Rate(0.001, 100)
    with capture_logs() as logs:
        assert (await process.buckets.spend("away", 60, rate)).remaining == 40
        redis.stop()
        for left in (30, 20, 10):
            assert round((await process.buckets.spend("away", 10, rate)).remaining) == left
        with pytest.raises(RateExceeded):
            await process.buckets.spend("away", 60, rate)
        redis.start()
        await asyncio.sleep(0.15)
        assert (await process.buckets.spend("away", 60, rate)).remaining == 40
    assert process.fallbacks == 4
    assert [line["event"] for line in logs] == [
        "rate limits not shared: Redis does not answer",
        "rate limits are shared again: Redis answers",
    ]
    assert PASSWORD not in str(logs)


async def test_a_redis_that_hangs_delays_three_calls_and_then_no_call(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_rates, "AWAY_SECONDS", 3_600)
    process = Process(redis.url)
    await process.buckets.spend("hung", 1, RATE)
    process.buckets._timeout = 0.2
    with redis.hung():
        began = time.monotonic()
        for _ in range(3):
            await process.buckets.spend("hung", 1, RATE)
        assert time.monotonic() - began >= 0.6
        # Redis is not asked any more.
        monkeypatch.setattr(shared_rates._Script, "call", None)
        for _ in range(17):
            await process.buckets.spend("hung", 1, RATE)
    assert process.fallbacks == 20
    await process.buckets.close()


async def test_two_gateways_share_the_points_of_a_key(redis: RedisServer, sqlite_file_url: str) -> None:
    given = {
        "database_url": sqlite_file_url,
        "rate_limit_url": redis.url,
        "rate_limit_timeout_seconds": 2,
        "operator_points_per_second": 100,
    }
    async with AsyncExitStack() as stack:
        services = [build_services(settings_of(given)) for _ in range(2)]
        clients = [await stack.enter_async_context(TestClient(TestServer(build_app(one)))) for one in services]
        key = (await Keys(services[0].database).create(NewKey(KeyScope.OPERATOR, "tests"))).secret
        sent: dict[str, Any] = {
            "json": {"query": "{ viewer { scope } }"},
            "headers": {"Authorization": f"Bearer {key}"},
        }
        left = []
        for client in [*clients, *clients]:
            async with client.post("/graphql", **sent) as response:
                assert response.status == 200
                left.append(int(response.headers["RateLimit"].partition("r=")[2].partition(";")[0]))
        assert left == sorted(left, reverse=True), left
        redis.stop()
        async with clients[0].post("/graphql", **sent) as response:
            assert response.status == 200
        async with clients[0].get("/metrics") as response:
            assert "billing_rate_limit_fallbacks_total 1.0" in await response.text()
        redis.start()


def test_a_url_that_cannot_be_used_is_refused_without_repeating_it(
    sqlite_file_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in ("http://u:s3cret@h", "redis://:s3cret/x@h", "redis://", "unix://", "redis://h:s3cret"):
        monkeypatch.setenv("BILLING_RATE_LIMIT_URL", url)
        refused = run("serve", url=sqlite_file_url, status=2)
        assert "rate_limit_url: Value error, must be redis://host:port/number" in refused
        assert "s3cret" not in refused
    options = ("redis://h?db=s3cret", "redis://h?unknown=1", "rediss://h?ssl_ca_certs=/ca.pem", "redis://h/3")
    assert [is_usable(url) for url in options] == [False, False, True, True]
