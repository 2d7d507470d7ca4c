"""The gateway as a subgraph: what routers ask it for, by both executors."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp.test_utils import TestClient, TestServer
from graphql import build_schema as parsed_schema

from access.keys import Keys, KeyScope, NewKey
from console.build import find_node, install
from gateway.app import build_app
from gateway.commands.options import settings_of
from gateway.services import build_services
from ledger.accounts import Accounts
from ledger.commands import Entry, Posting, Ref, Writer
from ledger.ids import account_id_text
from ledger.kinds import RefType, TransactionType, WriterKind
from ledger.money import NANOS
from schema.build import sdl
from schema.federation import subgraph_sdl

ENTITIES: Final = """
query ($representations: [_Any!]!) {
  _entities(representations: $representations) {
    __typename
    ... on Account { id balance }
    ... on Transaction { id amount charge { id } }
    ... on Charge { id billed }
  }
}
"""
ROUTER: Final = Path(__file__).parents[2] / "docs" / "examples" / "federation"
DIRECTIVES: Final = """
directive @link(url: String!, import: [String!]) on SCHEMA
directive @key(fields: String!) on OBJECT
directive @shareable on OBJECT
"""


class Asker:
    def __init__(self, client: TestClient[Any, Any], key: str) -> None:
        self._client = client
        self.key = key

    @property
    def url(self) -> str:
        return str(self._client.make_url("")).rstrip("/")

    async def ask(self, query: str, *references: object) -> dict[str, Any]:
        body = {"query": query, "variables": {"representations": references}, "extensions": {"cost": True}}
        async with self._client.post(
            "/graphql", json=body, headers={"Authorization": f"Bearer {self.key}"}
        ) as response:
            answer: dict[str, Any] = await response.json()
            return answer


@asynccontextmanager
async def served(url: str, **settings: Any) -> AsyncIterator[tuple[Asker, str, str]]:
    """Asks with a key of the first of two accounts, each of which has a volume's row: gives their ids, too."""
    services = build_services(settings_of({"database_url": url, **settings}))
    accounts = [await Accounts(services.database).create(name) for name in ("One", "Two")]
    for account in accounts:
        given = Entry(TransactionType.ADMIN_CORRECTION, 9 * NANOS, "Given")
        billed = Entry(TransactionType.STORAGE_BILLING, -NANOS, "Day", Ref(RefType.VOLUME, "vol-1"))
        for kind, entry in ((WriterKind.OPERATOR, given), (WriterKind.STORAGE_WORKER, billed)):
            await services.ledger.post(Posting(account.id, Writer(kind, "tests"), [entry], "post"))
    key = (await Keys(services.database).create(NewKey(KeyScope.READ, "tests", accounts[0].id))).secret
    async with TestClient(TestServer(build_app(services))) as client:
        yield Asker(client, key), account_id_text(accounts[0].id), account_id_text(accounts[1].id)


def references(account: str) -> list[dict[str, str]]:
    number = account.removeprefix("acct_")
    ids = {"Account": account, "Transaction": f"txn_{number}_2", "Charge": f"chg_{number}_2"}
    return [{"__typename": name, "id": one} for name, one in ids.items()]


@pytest.mark.parametrize("compiled", [True, False])
async def test_entities_are_found_by_reference_within_the_scope_of_the_key(
    sqlite_file_url: str, compiled: bool
) -> None:
    async with served(sqlite_file_url, federation=True, compiled_execution=compiled) as (asker, own, other):
        asked = [*references(own), *references(other), {"__typename": "Account", "id": "txn_1_1"}]
        answer = await asker.ask(ENTITIES, *asked)
        charge = references(own)[2]["id"]
        assert answer["data"]["_entities"] == [
            {"__typename": "Account", "id": own, "balance": "8.00"},
            {"__typename": "Transaction", "id": references(own)[1]["id"], "amount": "-1.00", "charge": {"id": charge}},
            {"__typename": "Charge", "id": charge, "billed": "1.00"},
            *[None] * 4,
        ]
        assert answer["extensions"]["cost"]["points"] > 12 + 5 * len(asked)
        for wrong in ({"__typename": "Viewer", "id": own}, {"__typename": "Account"}, 7):
            (error,) = (await asker.ask(ENTITIES, wrong))["errors"]
            assert error["extensions"]["code"] == "BAD_USER_INPUT"
        (error,) = (await asker.ask(ENTITIES, *asked[:1] * 1001))["errors"]
        assert error["message"] == "representations has 1001 items: at most 1000 are allowed"
        literal = f'{{ _entities(representations: [{{__typename: "Account", id: "{own}"}}]) {{ __typename }} }}'
        assert (await asker.ask(literal))["data"] == {"_entities": [{"__typename": "Account"}]}
        assert (await asker.ask("{ _service { sdl } }"))["data"] == {"_service": {"sdl": subgraph_sdl()}}


@pytest.mark.skipif(os.environ.get("FEDERATION_ROUTERS", "0") == "0", reason="runs in make test-nightly")
async def test_a_router_composes_the_gateway_with_another_subgraph(sqlite_file_url: str) -> None:
    await asyncio.to_thread(install, ROUTER)
    async with served(sqlite_file_url, federation=True) as (asker, own, _):
        charge = references(own)[2]["id"]
        process = await asyncio.create_subprocess_exec(
            *(str(find_node().node), "router.mjs"),
            cwd=ROUTER,
            env=os.environ | {"URL": asker.url, "KEY": asker.key, "CHARGE": charge},
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await asyncio.wait_for(process.communicate(), 60)
    instance = {
        "id": "gpu-132",
        "charge": {"id": charge, "net": "1.00", "state": "OPEN"},
        "account": {"id": own, "name": "One", "balance": "8.00"},
    }
    account = {"balance": "8.00", "instances": [{"id": "gpu-132", "charge": {"refId": "vol-1"}}]}
    assert json.loads(printed) == {"instances": [instance], "account": account}


async def test_a_gateway_is_no_subgraph_unless_it_is_set(sqlite_file_url: str) -> None:
    async with served(sqlite_file_url) as (asker, _, _):
        for query in (ENTITIES, "{ _service { sdl } }"):
            assert (await asker.ask(query))["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


def test_the_subgraph_is_the_schema_with_keys() -> None:
    text = subgraph_sdl()
    assert parsed_schema(text + DIRECTIVES)
    head, rest = text.split("\n\n", 1)
    assert head == (
        'extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key", "@shareable"])'
    )
    assert rest.count('implements Node @key(fields: "id") {') == 3
    assert rest.replace(' @key(fields: "id")', "").replace(" @shareable", "") == sdl()
