"""`billing-gateway mcp` over stdio, with the official client."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from aiohttp.test_utils import TestServer
from click.testing import CliRunner
from mcp import Client, StdioServerParameters

from access.keys import Keys, KeyScope, NewKey
from gateway.app import build_app
from gateway.commands.mcp import KEY_VARIABLE, mcp, serve_reader
from gateway.commands.options import settings_of
from gateway.mcp import tools
from gateway.mcp.asking import NotAnswered, own_gateway, remote_gateway
from gateway.mcp.server import build_server
from gateway.services import Services, build_services
from ledger.accounts import Accounts
from ledger.commands import Entry, Posting, Writer
from ledger.ids import account_id_text
from ledger.kinds import TransactionType, WriterKind
from ledger.money import NANOS

UNKNOWN = "eco_aaaaaaaa_" + "A" * 32


@pytest.fixture
def services(sqlite_file_url: str) -> Services:
    return build_services(settings_of({"database_url": sqlite_file_url}))


async def new_account(services: Services, dollars: int) -> int:
    account = await Accounts(services.database).create(f"Given {dollars}")
    entry = Entry(TransactionType.ADMIN_CORRECTION, dollars * NANOS, "Given")
    await services.ledger.post(Posting(account.id, Writer(WriterKind.OPERATOR, "tests"), [entry], "post"))
    return account.id


async def key_of(services: Services, scope: KeyScope, account_id: int) -> str:
    return (await Keys(services.database).create(NewKey(scope, "tests", account_id))).secret


async def answered(client: Client, name: str, **arguments: Any) -> Any:
    """The answer's data, or its text if it is an error."""
    result = await client.call_tool(name, arguments)
    (content,) = result.content
    assert content.type == "text"
    if result.is_error:
        return content.text
    assert json.loads(content.text) == result.structured_content
    return result.structured_content


async def check(client: Client, other: int) -> None:
    """What an assistant may read: the account of its key, and no other."""
    listed = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(listed) == set(tools.read_tools())
    assert all(tool.annotations and tool.annotations.read_only_hint for tool in listed.values())
    found = await answered(client, "MoreTransactions", first=10, filter={"types": ["ADMIN_CORRECTION"]})
    assert [edge["node"]["amount"] for edge in found["account"]["transactions"]["edges"]] == ["25.00"]
    refused = await answered(client, "MoreTransactions", account=account_id_text(other))
    assert refused.startswith("NOT_FOUND: ")
    assert "first" in await answered(client, "MoreTransactions", first=5000)
    assert "there is no tool TopUp" in await answered(client, "TopUp", input={})


async def test_a_process_answers_from_its_database(services: Services, sqlite_file_url: str) -> None:
    account, other = await new_account(services, 25), await new_account(services, 7)
    key = await key_of(services, KeyScope.READ, account)
    await services.database.close()
    given = {KEY_VARIABLE: key, "BILLING_DATABASE_URL": sqlite_file_url, "PYTHONPATH": os.pathsep.join(sys.path)}
    async with Client(
        StdioServerParameters(command=sys.executable, args=["-m", "gateway.cli", "mcp"], env=given)
    ) as one:
        await check(one, other)


async def test_a_running_gateway_answers(services: Services) -> None:
    account, other = await new_account(services, 25), await new_account(services, 7)
    key = await key_of(services, KeyScope.READ, account)
    async with (
        TestServer(build_app(services)) as server,
        remote_gateway(str(server.make_url("")), key) as ask,
        Client(build_server(tools.read_tools(), ask)) as client,
    ):
        await check(client, other)


async def test_a_call_that_is_not_admitted_is_told_why(services: Services, sqlite_file_url: str) -> None:
    key = await key_of(services, KeyScope.READ, await new_account(services, 1))
    await services.database.close()
    settings = settings_of({"database_url": sqlite_file_url, "points_per_second": 100, "max_cost": 1_000})
    query, usage = (
        "{ viewer { scope } } #",
        "query ($of: [String!]) { account { usage(filter: {models: $of}) { totalCount } } }",
    )
    refused = []
    async with own_gateway(settings, key) as ask:
        assert await ask(query + "a" * 2_000, {}) == {"viewer": {"scope": "READ"}}
        for text, variables in ((usage, {"of": [1] * 10_001}), (query + "b" * 5_000, {}), (query + "c" * 4_000, {})):
            with pytest.raises(NotAnswered) as error:
                await ask(text, variables)
            refused.append(error.value.code)
    assert refused == ["QUERY_TOO_COMPLEX", "QUERY_TOO_COMPLEX", "RATE_LIMITED"]


async def test_only_a_read_key_will_do(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    manage = await key_of(services, KeyScope.MANAGE, await new_account(services, 1))
    for key, said in ((manage, "has a key of scope `manage`"), (UNKNOWN, "UNAUTHENTICATED")):
        with pytest.raises(click.ClickException, match=said):
            await serve_reader(services.settings, None, key)
    await services.database.close()
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert f"set {KEY_VARIABLE} to a key of scope `read`" in CliRunner().invoke(mcp, []).output
    monkeypatch.setattr("gateway.commands.mcp.find_spec", lambda _name: None)
    assert "pip install 'billing-gateway[mcp]'" in CliRunner().invoke(mcp, []).output


def test_tools_are_the_queries_of_readers() -> None:
    found = tools.read_tools()
    assert {"BillingPage", "MoreTransactions", "TransactionExplained", "UsageByDay"} <= set(found)
    assert found.keys().isdisjoint({"Accounts", "AutoRecharge", "BalanceChanges", "TopUp"})
    for tool in found.values():
        jsonschema.Draft202012Validator.check_schema(tool.input_schema)
        assert tool.description
    rows = found["MoreTransactions"].input_schema
    jsonschema.validate({"account": None, "first": 5, "filter": {"createdAt": {"gte": "2026-11-01T00:00:00Z"}}}, rows)
    for wrong in ({"first": "5"}, {"filter": {"types": ["NONE"]}}, {"unknown": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, rows)
    assert found["TransactionDetail"].input_schema["required"] == ["id"]


def test_a_wheel_carries_the_operations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tools.operations_folder() == Path(__file__).parents[3] / "graphql" / "operations"
    monkeypatch.setattr(tools, "_PACKAGED", tmp_path)
    assert tools.operations_folder() == tmp_path
