"""What a gateway with a wrong clock tells those who call it, and those who look after it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from access.keys import Keys, KeyScope, NewKey
from gateway.app import build_app
from gateway.commands.options import settings_of
from gateway.services import Services, build_services
from ledger.accounts import Accounts
from ledger.posting import utc_now
from tests.gateway.test_webhooks import Endpoint, paid
from tests.stripe_objects import SECRET

TIME = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
APART = f"clock: this process's clock shows {TIME}, the database server's {TIME}: they differ by more than 60 seconds"
BEHIND = (
    f"clock: this process's clock shows {TIME}, the newest row was recorded at {TIME}:"
    " they differ by more than 60 seconds"
)


class Gateway:
    def __init__(self, database_url: str) -> None:
        self.ahead_seconds = 0.0
        settings = settings_of({"database_url": database_url, "key_cache_seconds": 0, "stripe_webhook_secrets": SECRET})
        self.services: Services = build_services(settings, self.clock, self.clock)
        self.client: TestClient[web.Request, web.Application] = TestClient(TestServer(build_app(self.services)))

    def clock(self) -> datetime:
        return utc_now() + timedelta(seconds=self.ahead_seconds)

    async def ready(self) -> tuple[int, Any]:
        async with self.client.get("/readyz") as response:
            answer = await response.json()
        assert answer["reads"]
        assert answer.pop("writes") == (answer["checks"].pop("clock") == "ok") == (response.status == 200)
        return response.status, {key: answer[key] for key in answer if key not in {"reads", "checks"}}

    async def ahead(self) -> float:
        async with self.client.get("/metrics") as response:
            found = re.search(r"^billing_clock_ahead_seconds (\S+)$", await response.text(), re.MULTILINE)
        assert found is not None
        return float(found[1])


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[Gateway]:
    gateway = Gateway(database_url)
    async with gateway.client:
        yield gateway


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
@pytest.mark.parametrize("seconds", [-90, 90])
async def test_a_gateway_with_a_wrong_clock_is_not_ready_and_refuses_to_post(gateway: Gateway, seconds: int) -> None:
    account = await Accounts(gateway.services.database).create("One")
    key = await Keys(gateway.services.database).create(NewKey(KeyScope.OPERATOR, "tests"))
    await gateway.services.stripe_events.link(account.id, "cus_1")
    endpoint = Endpoint(gateway.client, gateway.services)
    assert await gateway.ready() == (200, {"status": "ok"})
    assert abs(await gateway.ahead()) < 1
    gateway.ahead_seconds = seconds
    with capture_logs() as logs:
        for _ in range(3):
            status, answer = await gateway.ready()
            assert (status, answer["error"]["code"]) == (503, "UNAVAILABLE")
            assert re.match(APART, answer["error"]["message"])
    assert [line["event"] for line in logs].count("the clock is wrong") == 1
    assert abs(await gateway.ahead() - seconds) < 1

    mutation = f"""mutation {{ correctBalance(input: {{
      idempotencyKey: "k", accountId: "acct_{account.id}", amount: "1.00", description: "Given"
    }}) {{ balance }} }}"""
    headers = {"Authorization": f"Bearer {key.secret}"}

    async def correct() -> Any:
        async with gateway.client.post("/graphql", json={"query": mutation}, headers=headers) as response:
            return await response.json()

    service = await Keys(gateway.services.database).create(NewKey(KeyScope.SERVICE, "tests"))
    volume: dict[str, Any] = {
        "idempotencyKey": "k",
        "accountId": f"acct_{account.id}",
        "refType": "VOLUME",
        "refId": "v-1",
    }
    volume |= {"gib": 1, "pricePerGibDay": "1.00"}
    set_volume = {
        "query": "mutation ($input: SetVolumeInput!) { setVolume(input: $input) { replayed } }",
        "variables": {"input": volume},
    }

    async def register() -> Any:
        of_service = {"Authorization": f"Bearer {service.secret}"}
        async with gateway.client.post("/graphql", json=set_volume, headers=of_service) as response:
            return await response.json()

    # What is billed later has a time as well.
    assert (await register())["errors"][0]["extensions"] == {"code": "UNAVAILABLE"}
    (error,) = (await correct())["errors"]
    assert error["extensions"] == {"code": "UNAVAILABLE"}
    assert re.fullmatch(rf"{APART}\. Nothing was written", error["message"])
    # Stripe sends it again.
    status, answer = await endpoint.tell(paid())
    assert (status, answer["error"]["code"]) == (503, "UNAVAILABLE")
    assert await endpoint.amounts() == []

    gateway.ahead_seconds = 0
    assert await gateway.ready() == (200, {"status": "ok"})
    assert (await correct())["data"] == {"correctBalance": {"balance": "1.00"}}
    assert (await register())["data"] == {"setVolume": {"replayed": False}}
    assert (await endpoint.tell(paid()))[0] == 200
    assert await endpoint.amounts() == [("admin_correction", 10**9), ("topup", 2 * 10**10)]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_on_sqlite_a_clock_behind_the_newest_row_is_reported_and_posting_goes_on(gateway: Gateway) -> None:
    account = await Accounts(gateway.services.database).create("One")
    await gateway.services.stripe_events.link(account.id, "cus_1")
    endpoint = Endpoint(gateway.client, gateway.services)
    assert (await endpoint.tell(paid("evt_1", "cs_1")))[0] == 200
    assert await gateway.ready() == (200, {"status": "ok"})
    gateway.ahead_seconds = -90
    status, answer = await gateway.ready()
    assert (status, answer["status"]) == (200, "ok")
    assert re.fullmatch(BEHIND, answer["message"])
    assert -91 < await gateway.ahead() < -60
    assert (await endpoint.tell(paid("evt_2", "cs_2")))[0] == 200
    assert len(await endpoint.amounts()) == 2
