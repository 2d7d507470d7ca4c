"""A gateway that is killed while it posts: each call that it answered is there, each sent again is carried out once."""

from __future__ import annotations

import asyncio
import itertools
import os
from pathlib import Path
from random import Random
from typing import Any

from aiohttp import ClientError

from tests.gateway.mutations.office import PAYLOAD, Office, document
from tests.gateway.mutations.test_metering import request
from tests.gateway.streams.clients.processes import GatewayProcess
from tests.ledger.recompute import differences

KILLS = int(os.environ.get("POSTING_KILLS", "3"))
CLIENTS = 16


def _call(accounts: list[str], number: int) -> tuple[str, dict[str, Any]]:
    """The n-th call: the same whenever it is asked for."""
    mine = {"idempotencyKey": f"call {number}", "accountId": accounts[number // 2 % len(accounts)]}
    if number % 2:
        return "recordUsage", mine | {
            "requests": [request(f"request {number}", cost="0.01", at="2026-11-01T00:00:00Z")]
        }
    period = {"periodStart": "2026-11-01T00:00:00Z", "periodEnd": "2026-11-01T01:00:00Z"}
    return "openHold", mine | {"refType": "GPU_INSTANCE", "refId": str(number), "amount": "0.01", **period}


async def _sent(office: Office, address: str, name: str, given: dict[str, Any]) -> Any:
    headers = {"Authorization": f"Bearer {office.keys['service']}"}
    body = {"query": document(name, PAYLOAD), "variables": {"input": given}}
    async with office.session.post(f"{address}/graphql", json=body, headers=headers) as response:
        answer = await response.json()
    assert "errors" not in answer, answer
    return answer["data"][name]


async def test_a_killed_gateway_loses_nothing_that_it_answered(
    office: Office, database_url: str, tmp_path: Path
) -> None:
    random = Random(5)
    accounts = [await office.account("1000.00") for _ in range(3)]
    numbers = itertools.count()
    answered: dict[int, Any] = {}
    for _ in range(KILLS):
        gateway = GatewayProcess(database_url, tmp_path)
        await gateway.start()
        before = next(numbers)
        has_answered = asyncio.Event()

        async def send(address: str = gateway.address, event: asyncio.Event = has_answered) -> None:
            for number in numbers:
                try:
                    answered[number] = await _sent(office, address, *_call(accounts, number))
                except ClientError:
                    return
                event.set()

        clients = [asyncio.create_task(send()) for _ in range(CLIENTS)]
        await has_answered.wait()
        await asyncio.sleep(random.uniform(0.05, 0.3))
        await gateway.kill()
        await asyncio.gather(*clients)
        assert await differences(office.services.database) == []
        for number in range(before + 1, next(numbers)):
            again = await _sent(office, office.url, *_call(accounts, number))
            if number in answered:
                assert again == answered[number] | {"replayed": True}
    rows = [row for account in accounts for row in await office.transactions(account)]
    keys = [(row["type"], row["refType"], row["refId"]) for row in rows if row["type"] == "GPU_USAGE"]
    assert len(keys) == len(set(keys)) > KILLS * CLIENTS
    assert await differences(office.services.database) == []
