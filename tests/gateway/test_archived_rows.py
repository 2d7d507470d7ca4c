"""A gateway answers from the archive what it answered before rows were moved there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from access.keys import Keys, KeyScope, NewKey
from db.archive.store import ArchiveStore
from db.database import Database
from gateway.app import build_app
from gateway.commands.options import settings_of
from gateway.services import build_services
from ledger.archiving import Archiving
from ledger.ids import account_id_text
from tests.ledger.desk import Desk
from tests.ledger.verification.filled import filled


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


QUERY = """
query ($id: ID!, $since: DateTime!) {
  account(id: $id) {
    transactions(first: 100) { totalCount totals { credits debits net } edges { cursor node {
      id amount balanceAfter description explanation corrects { id } } } pageInfo { endCursor } }
    last: transactions(last: 3) { nodes { id } }
    of: transactions(first: 5, filter: {refType: GPU_INSTANCE, search: "gpu"}) { totalCount nodes { id } }
    charges(first: 20) { nodes { refId transactions(first: 20) { totalCount nodes { id } } } }
    balanceAt: balance(asOf: $since)
  }
}
"""


@asynccontextmanager
async def gateway(url: str, folder: str | None) -> AsyncIterator[TestClient[Any, Any]]:
    services = build_services(settings_of({"database_url": url, "archive_url": folder}))
    async with TestClient(TestServer(build_app(services))) as client:
        yield client


async def _answers(client: TestClient[Any, Any], secret: str, account: str, desk: Desk) -> list[Any]:
    headers = {"Authorization": f"Bearer {secret}"}
    found: list[Any] = []
    for path in ("transactions", "transactions.csv", "transactions?search=gpu&limit=5", "transactions?limit=2"):
        address = f"/billing/{path}{'&' if '?' in path else '?'}account={account}"
        async with client.get(address, headers=headers) as response:
            assert response.status == 200, await response.text()
            found.append(await response.read())
    variables = {"id": account, "since": (desk.now - timedelta(days=1)).isoformat()}
    async with client.post("/graphql", headers=headers, json={"query": QUERY, "variables": variables}) as response:
        found.append(await response.json())
    return found


async def test_a_gateway_answers_as_before(desk: Desk, database_url: str, tmp_path: Path) -> None:
    ledger, folder = await filled(desk), str(tmp_path / "archive")
    account = account_id_text(ledger.busy)
    secret = (await Keys(desk.database).create(NewKey(KeyScope.OPERATOR, "tests"))).secret
    async with gateway(database_url, folder) as client:
        before = await _answers(client, secret, account, desk)
    assert "errors" not in before[-1], before[-1]["errors"]
    moving = Archiving(desk.database, ArchiveStore(folder), 4, first_move_seconds=0)
    moved = [file async for file in moving.move(ledger.busy, desk.now + timedelta(days=1))]
    assert len(moved) > 2
    async with gateway(database_url, folder) as client:
        assert await _answers(client, secret, account, desk) == before
        headers = {"Authorization": f"Bearer {secret}"}
        opened = (
            '{account(id: "%s") {charges(first: 1, filter: {openedAt: {gte: "2020-01-01T00:00:00Z"}}) {totalCount}}}'
        )
        async with client.post("/graphql", headers=headers, json={"query": opened % account}) as response:
            assert (await response.json())["errors"][0]["extensions"] == {"code": "ARCHIVED"}
        async with client.get("/readyz") as response:
            assert response.status == 200
    async with gateway(database_url, None) as client:
        async with client.get("/readyz?for=reads") as response:
            assert response.status == 503
            assert "set archive_url" in (await response.json())["error"]["message"]
        async with client.get(f"/billing/transactions?account={account}", headers=headers) as response:
            assert (await response.json())["error"]["code"] == "UNAVAILABLE"
            assert response.status == 503
