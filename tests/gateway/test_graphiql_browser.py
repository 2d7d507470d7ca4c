"""GraphiQL as a browser runs it, against a small schema that answers keys alone."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLString,
)
from graphql import graphql as execute
from playwright.async_api import Browser, Page, expect

from gateway.pages import add_page_routes, render_graphiql
from tests.chromium import launched

ROOT: Final = Path(__file__).parents[2]
STATIC: Final = ROOT / "gateway" / "static"

KEY: Final = "eco_abcdefgh_0123456789abcdefghijklmnopqrstuv"
REFUSED: Final = "eco_refusedk_0123456789abcdefghijklmnopqrstuv"

SCHEMA: Final = GraphQLSchema(
    GraphQLObjectType(
        "Query",
        {
            "balance": GraphQLField(
                GraphQLNonNull(GraphQLString),
                args={"account": GraphQLArgument(GraphQLString)},
                description="What the account holds.",
                resolve=lambda _source, _info, account=None: f"12.50 of {account}",
            )
        },
    ),
    subscription=GraphQLObjectType("Subscription", {"balanceChanged": GraphQLField(GraphQLNonNull(GraphQLString))}),
)


@dataclass(slots=True)
class Requests:
    """What the endpoint was sent, and what the browser asked for and complained of."""

    posted: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


REQUESTS: Final = web.AppKey("requests", Requests)


async def page_of(request: web.Request) -> web.StreamResponse:
    return render_graphiql(request)


async def events(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for amount in ("1.00", "2.00"):
        data = json.dumps({"data": {"balanceChanged": amount}})
        await response.write(f"event: next\nid: {amount}\ndata: {data}\n\n".encode())
    await response.write(b"event: complete\ndata:\n\n")
    return response


async def endpoint(request: web.Request) -> web.StreamResponse:
    requests = request.app[REQUESTS]
    given = await request.json()
    requests.posted.append(given)
    requests.headers.append(dict(request.headers))
    if request.headers.get("Authorization") != f"Bearer {KEY}":
        return web.json_response({"errors": [{"message": "this key is not known"}]}, status=401)
    if request.headers["Accept"] == "text/event-stream":
        return await events(request)
    result = await execute(
        SCHEMA, given["query"], variable_values=given.get("variables"), operation_name=given.get("operationName")
    )
    body = json.dumps(result.formatted)
    return web.Response(text=body, content_type="application/graphql-response+json")


@pytest.fixture(scope="module")
def built() -> None:
    if not (STATIC / "graphiql" / "index.html").is_file():
        pytest.fail("the GraphiQL page is not built: run `make pages`")


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with launched() as browser:
        yield browser


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    app = web.Application()
    app[REQUESTS] = Requests()
    app.router.add_get("/graphql", page_of)
    app.router.add_post("/graphql", endpoint)
    add_page_routes(app, STATIC)
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


@pytest.fixture
def requests(server: TestServer) -> Requests:
    assert server.app is not None
    return server.app[REQUESTS]


@pytest.fixture
async def page(built: None, browser: Browser, server: TestServer, requests: Requests) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    page = await context.new_page()
    page.set_default_timeout(20_000)
    page.on("request", lambda request: requests.addresses.append(request.url))
    page.on(
        "console",
        lambda message: requests.complaints.append(message.text) if message.type in {"error", "warning"} else None,
    )
    page.on("pageerror", lambda error: requests.complaints.append(str(error)))
    # Violations that no request or console line tells of.
    await page.add_init_script(
        "addEventListener('securitypolicyviolation', e => console.error('policy', e.violatedDirective, e.blockedURI))"
    )
    await page.goto(str(server.make_url("/graphql")))
    yield page
    await context.close()


async def give_key(page: Page, key: str) -> None:
    await page.get_by_label("API key").fill(key)
    await page.keyboard.press("Enter")


async def write_query(page: Page, kind: str, name: str, selection: str) -> None:
    """By the keyboard, on one line: the editor indents and closes brackets by itself."""
    await page.locator(".graphiql-query-editor .monaco-editor").first.click()
    await page.keyboard.press("Control+A")
    await page.keyboard.insert_text(f"{kind} {name} {selection}")
    # The tab is named once the editor has understood which operation it is.
    await expect(page.get_by_role("tab", name=name)).to_be_visible()


async def run_query(page: Page) -> None:
    await page.get_by_role("button", name=re.compile("^Execute query")).click()


def response_of(page: Page) -> Any:
    return page.locator(".result-window .view-lines")


async def test_key_is_typed_and_a_query_answered(page: Page, server: TestServer, requests: Requests) -> None:
    status = page.get_by_role("status").first
    await expect(status).to_have_text("No API key yet: paste one to load the schema and run queries.")
    await expect(page.locator(".graphiql-query-editor .monaco-editor").first).to_be_visible()
    assert requests.posted == []

    await give_key(page, KEY)
    await expect(status).to_have_text("Using eco_abcdefgh…, kept until this tab is closed.")
    await page.get_by_role("button", name="Show Documentation Explorer").click()
    await page.get_by_role("link", name="Query").click()
    await expect(page.get_by_text("What the account holds.")).to_be_visible()

    await write_query(page, "query", "Balance", '{ balance(account: "acct_7") }')
    await run_query(page)
    await expect(response_of(page)).to_contain_text("12.50 of acct_7")

    assert requests.posted[-1]["query"] == 'query Balance { balance(account: "acct_7") }'
    assert requests.posted[-1]["operationName"] == "Balance"
    assert {headers["Authorization"] for headers in requests.headers} == {f"Bearer {KEY}"}
    assert {headers["Accept"] for headers in requests.headers} == {
        "application/graphql-response+json, application/json"
    }
    origin = str(server.make_url("/"))
    assert [address for address in requests.addresses if not address.startswith((origin, "data:"))] == []
    assert [address for address in requests.addresses if "eco_" in address] == []
    assert any("graphql.worker" in address for address in requests.addresses)
    assert requests.complaints == []


async def test_key_stays_in_the_tab_alone(page: Page) -> None:
    await give_key(page, f"Authorization: Bearer {KEY}")
    await expect(page.get_by_role("status").first).to_contain_text("Using eco_abcdefgh")
    await expect(page.get_by_label("API key")).to_have_value("")
    await page.reload()
    await expect(page.get_by_role("status").first).to_contain_text("Using eco_abcdefgh")
    assert await page.evaluate("JSON.stringify(sessionStorage)") == json.dumps(
        {"billing.key": KEY}, separators=(",", ":")
    )
    assert "eco_" not in await page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")

    await page.get_by_role("button", name="Forget key").click()
    await expect(page.get_by_role("status").first).to_contain_text("No API key yet")
    assert await page.evaluate("sessionStorage.length") == 0
    await run_query(page)
    await expect(response_of(page)).to_contain_text("No API key: paste one")


async def test_refused_key_is_told(page: Page, requests: Requests) -> None:
    await give_key(page, "sk_live_1")
    await expect(page.get_by_role("status").first).to_have_text("This is not an API key: API keys start with eco_.")
    assert requests.posted == []
    await give_key(page, REFUSED)
    await expect(page.get_by_role("status").first).to_have_text("eco_refusedk was refused: this key is not known")
    await write_query(page, "query", "Balance", "{ balance }")
    await run_query(page)
    await expect(response_of(page)).to_contain_text("this key is not known")


async def test_errors_of_a_query_are_shown(page: Page) -> None:
    await give_key(page, KEY)
    await write_query(page, "query", "Nothing", "{ nothing }")
    await run_query(page)
    await expect(response_of(page)).to_contain_text("Cannot query field 'nothing' on type 'Query'.")


async def test_subscription_is_followed_to_its_end(page: Page, requests: Requests) -> None:
    await give_key(page, KEY)
    await expect(page.get_by_role("status").first).to_contain_text("Using eco_abcdefgh")
    await write_query(page, "subscription", "Changes", "{ balanceChanged }")
    await run_query(page)
    await expect(response_of(page)).to_contain_text("2.00")
    assert requests.headers[-1]["Accept"] == "text/event-stream"
    assert requests.complaints == []


async def test_operations_of_the_repository_are_offered(page: Page, requests: Requests) -> None:
    folders = [ROOT / "graphql" / folder for folder in ("operations", "examples")]
    names = sorted(path.stem for folder in folders for path in folder.glob("*.graphql"))
    offered = page.get_by_label("Example queries").get_by_role("button")
    assert [text.split("\n")[0] for text in await offered.all_inner_texts()] == names
    await expect(offered.last).to_be_enabled()
    await offered.last.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator(".graphiql-query-editor .view-lines")).to_contain_text(names[-1])
    await expect(page.get_by_role("tab", name=names[-1]).last).to_have_attribute("aria-selected", "true")
    assert requests.complaints == []
