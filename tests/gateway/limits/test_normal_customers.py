"""The default limits do not meet a normal customer."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse
from sqlalchemy import insert, select

from access.keys import KeyScope, NewKey
from db import tables
from tests.gateway.mutations.office import Office, number_of

pytestmark = pytest.mark.one_database

ROOT = Path(__file__).parents[3]
PEOPLE = 50
FOLLOWED = 1_000
ROWS = 25_000


async def test_fifty_people_of_one_account_open_the_billing_page_at_once(office: Office) -> None:
    """With one key, and each the page's further operations too."""
    account = await office.account("25.00")
    key = await office.key(NewKey(KeyScope.READ, "tests", number_of(account)))
    given: dict[str, dict[str, Any]] = {
        "ConsolePage": {"first": 50},
        "UsageByDay": {"first": 50},
        "MonthKinds": {"filter": {"day": {"gte": "2025-12-01"}}},
    }
    texts = {name: (ROOT / f"graphql/operations/{name}.graphql").read_text() for name in given}

    async def person() -> list[Any]:
        return [await office.send(texts[name], key, variables) for name, variables in given.items()]

    for answer in itertools.chain.from_iterable(await asyncio.gather(*(person() for _ in range(PEOPLE)))):
        assert "errors" not in answer, answer


async def _socket(office: Office, key: str) -> ClientWebSocketResponse:
    socket = await office.session.ws_connect(f"{office.url}/graphql", protocols=["graphql-transport-ws"])
    await socket.send_json({"type": "connection_init", "payload": {"Authorization": f"Bearer {key}"}})
    assert (await socket.receive_json())["type"] == "connection_ack"
    return socket


async def test_a_partner_follows_a_thousand_accounts_with_one_key(office: Office) -> None:
    first = number_of(await office.account())
    rows = [
        {"id": first + number, "name": f"Account {number}", "created_at": office.now} for number in range(1, FOLLOWED)
    ]
    async with office.services.database.write() as connection:
        await connection.execute(insert(tables.accounts), rows)
    query = "subscription ($id: ID!) { balanceChanged(accountId: $id) { balance transaction { id } } }"
    sockets = [await _socket(office, office.keys["operator"]) for _ in range(FOLLOWED // 100)]
    for number, socket in enumerate(sockets):
        for place in range(100):
            variables = {"id": f"acct_{first + 100 * number + place}"}
            message = {"type": "subscribe", "id": str(place), "payload": {"query": query, "variables": variables}}
            await socket.send_json(message)
    # The newest of them is told of a row, so all before it were taken.
    last = f"acct_{first + FOLLOWED - 1}"
    async with asyncio.timeout(60):
        while True:
            await office.call("grantBonus", accountId=last, amount="1.00", promotion="x")
            try:
                found = await sockets[-1].receive_json(timeout=5)
            except TimeoutError:
                continue
            break
    assert found["type"] == "next"
    assert found["payload"]["data"]["balanceChanged"]["transaction"]["id"].startswith("txn_")
    for socket in sockets:
        await socket.close()


async def test_an_export_costs_the_same_however_long_it_is(office: Office) -> None:
    account = await office.account("1.00")
    key = await office.key(NewKey(KeyScope.READ, "tests", number_of(account)))
    headers = {"Authorization": f"Bearer {key}"}
    costs = []
    for rows in (1, ROWS):
        await _fill(office, number_of(account), rows)
        async with office.session.get(f"{office.url}/billing/transactions.csv", headers=headers) as response:
            left = int(response.headers["RateLimit"].split(";")[1].removeprefix("r="))
            assert (await response.text()).count("\n") == rows + 1
        costs.append(100_000 - left)
        await asyncio.sleep(0.1)
    assert costs[0] == 500
    assert costs[1] <= 1_000


async def _fill(office: Office, account_id: int, rows: int) -> None:
    """Gives the account so many rows. Nothing here reads their hashes."""
    async with office.services.database.write() as connection:
        table = tables.transactions
        newest = (await connection.execute(select(table).where(table.c.account_id == account_id))).mappings().first()
        assert newest is not None
        made = [dict(newest) | {"seq": seq} for seq in range(2, rows + 1)]
        for start in range(0, len(made), 2_000):
            await connection.execute(insert(table), made[start : start + 2_000])
        accounts = tables.accounts
        await connection.execute(accounts.update().where(accounts.c.id == account_id).values(head_seq=rows))
