"""A gateway answers from the archive what it answered before rows were moved there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from access.keys import Keys, KeyScope, NewKey
from db.archive.errors import ArchiveUnavailable
from db.archive.store import ArchiveStore
from db.database import Database
from gateway.app import build_app
from gateway.commands import archive as command
from gateway.commands.options import settings_of
from gateway.services import build_services
from ledger.archiving import Archiving
from ledger.ids import account_id_text
from tests.gateway.command_line import run
from tests.gateway.mutations.office import Office, opened
from tests.gateway.test_moved_accounts import moves_of
from tests.gateway.test_shards import FIRST, SECOND, rest
from tests.gateway.test_shards import urls as urls
from tests.ledger.desk import DAY, Desk, api_usage
from tests.ledger.verification.filled import filled
from tests.shards import databases, formed


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


ACCOUNTS = (FIRST, "acct_2", SECOND, "acct_1000000000002")
SHARES = "query ($one: ID!, $two: ID!) { one: account(id: $one) { ...f } two: account(id: $two) { ...f } }"
LEDGER = "fragment f on Account { transactions(first: 20) { totalCount totals { net } nodes { id balanceAfter } } }"


async def _shown(office: Office) -> list[Any]:
    operator = office.keys["operator"]
    exports = [await rest(office, f"/billing/transactions.csv?account={one}", operator) for one in (FIRST, SECOND)]
    return [await office.query(SHARES + LEDGER, one=FIRST, two=SECOND), *exports]


async def test_one_archive_serves_all_shards(urls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run on all shards, and each shard's moved rows are read."""
    monkeypatch.setattr(command, "Archiving", partial(Archiving, file_rows=2, first_move_seconds=0))
    folder = str(tmp_path / "archive")
    await formed(*urls[:2])
    async with databases(*urls[:2]) as made:
        for database in made:
            desk = Desk(database)
            desk.now -= 1_000 * DAY
            for _ in range(2):
                account_id = await desk.account("10.00")
                for number in range(1, 5):
                    await desk.post(account_id, api_usage(number))

    async def told(*arguments: str, status: int = 0) -> list[str]:
        given = (*arguments, "--shards", urls[1])
        return (await asyncio.to_thread(run, *given, url=urls[0], status=status)).splitlines()

    archive = ("archive", "--archive-url", folder)
    async with opened(urls[0], shards=urls[1], archive_url=folder, pool_size=3) as office:
        before = await _shown(office)
    files = [[account, *seqs] for account in ACCOUNTS for seqs in (["1", "2"], ["3", "4"])]
    assert [line.split("\t")[:3] for line in await told(*archive)] == files
    # What an account has in the archive stays valid on another shard, and the old one does not move its rows any more.
    async with databases(*urls[:2]) as made:
        await moves_of(made).move(2, 1)
        with pytest.raises(ArchiveUnavailable, match="acct_2 was moved to another shard"):
            await anext(Archiving(made[0], ArchiveStore(folder), 2, first_move_seconds=0).move(2, Desk(made[0]).now))
    assert [line.split("\t")[:3] for line in await told(*archive, "--move")] == files
    assert await told(*archive, "--check") == [f"{account}\t4" for account in ACCOUNTS]
    assert await told(*archive, "--check", "--account", SECOND) == [f"{SECOND}\t4"]
    assert await told("verify", "--archive-url", folder) == ["accounts: 4, rows: 20, faults: 0"]
    async with opened(urls[0], shards=urls[1], archive_url=folder, pool_size=3) as office:
        assert await _shown(office) == before
    assert len(await told(*archive, "--restore")) == 8
    assert (
        "`billing-gateway archive --move` has begun with its rows"
        in (await told("accounts", "move", SECOND, "0", status=1))[0]
    )
    assert await told("verify") == ["accounts: 4, rows: 20, faults: 0"]
