"""Pages of other origins: what a browser may send for them and let them read, and what Chromium then does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from aiohttp import ClientResponse, web
from playwright.async_api import Page

from gateway.streams.subscription import answers
from ledger.commands import Entry, Posting, Writer
from ledger.kinds import TransactionType, WriterKind
from ledger.money import NANOS
from tests.chromium import launched
from tests.gateway.streams.conftest import Gateway, Serve, serve

__all__ = ["serve"]

PARTNER: Final = "https://partner.example"
ALLOWED: Final = f"{PARTNER}, http://localhost:3000"
ASKED: Final = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
ALLOW: Final = "Access-Control-Allow-Origin"
SHARED: Final = (
    *("/graphql", "/graphql/schema.graphql", "/billing/transactions", "/billing/usage.csv", "/billing/export-links"),
    "/openapi.json",
)
OWN: Final = ("/healthz", "/metrics", "/console/", "/console/sign-in", "/graphql/session", "/webhooks/stripe", "/none")

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


async def served(serve: Serve, allowed: str | None = ALLOWED) -> Gateway:
    """The account has one row, so that every list has something."""
    gateway = await serve(answers, allowed_origins=allowed)
    bonus = Entry(TransactionType.BONUS, 5 * NANOS, "Welcome")
    writer = Writer(WriterKind.SERVICE, "tests")
    await gateway.services.ledger.post(Posting(gateway.account_id, writer, [bonus], "grantBonus"))
    return gateway


async def ask(gateway: Gateway, method: str, path: str, **headers: str) -> ClientResponse:
    url = gateway.url.replace("/graphql", path)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with gateway.session.request(method, url, headers=sent, allow_redirects=False) as response:
        await response.read()
    return response


def names(response: ClientResponse, header: str) -> set[str]:
    return {one.strip().lower() for one in response.headers.get(header, "").split(",") if one.strip()}


@pytest.mark.parametrize("origin", [PARTNER, "https://partner.example:443", "http://localhost:3000"])
@pytest.mark.parametrize("path", SHARED)
async def test_an_allowed_page_may_send_a_key(serve: Serve, path: str, origin: str) -> None:
    response = await ask(await served(serve), "OPTIONS", path, Origin=origin, **ASKED)
    assert (response.status, response.headers[ALLOW]) == (204, origin)
    assert names(response, "Access-Control-Allow-Methods") == {"get", "head", "post"}
    assert {"authorization", "content-type", "last-event-id", "if-none-match"} <= names(
        response, "Access-Control-Allow-Headers"
    )
    assert "origin" in names(response, "Vary")
    assert "Access-Control-Allow-Credentials" not in response.headers


OTHERS: Final = (
    *("https://evil.example", "http://partner.example", "https://partner.example:8443", "https://a.partner.example"),
    *("https://partner.example.evil.example", "https://partner.example/", "null", "*", ""),
)


@pytest.mark.parametrize("origin", OTHERS)
async def test_no_other_page_may_send_a_key_or_read_an_answer(serve: Serve, origin: str) -> None:
    gateway = await served(serve)
    refused = await ask(gateway, "OPTIONS", "/graphql", Origin=origin, **ASKED)
    assert (refused.status, ALLOW in refused.headers) == (405, False)
    answered = await ask(gateway, "GET", "/billing/transactions", Origin=origin, Authorization=f"Bearer {gateway.key}")
    assert (answered.status, ALLOW in answered.headers) == (200, False)
    # A shared cache keeps the answer for this page apart from those of other pages.
    assert names(answered, "Vary") == {"origin"}


@pytest.mark.parametrize("path", OWN)
async def test_other_paths_are_not_shared(serve: Serve, path: str) -> None:
    gateway = await served(serve)
    for method in ("OPTIONS", "GET"):
        assert ALLOW not in (await ask(gateway, method, path, Origin=PARTNER, **ASKED)).headers


async def test_two_origins_are_none(serve: Serve) -> None:
    gateway = await served(serve)
    headers = [("Origin", PARTNER), ("Origin", PARTNER)]
    async with gateway.session.get(gateway.url, headers=headers) as response:
        assert ALLOW not in response.headers


@pytest.mark.parametrize("path", SHARED)
async def test_without_the_setting_no_page_is_allowed(serve: Serve, path: str) -> None:
    gateway = await served(serve, None)
    asked = await ask(gateway, "OPTIONS", path, Origin=PARTNER, **ASKED)
    assert (asked.status, ALLOW in asked.headers, names(asked, "Vary")) == (405, False, set())
    answered = await ask(gateway, "GET", path, Origin=PARTNER, Authorization=f"Bearer {gateway.key}")
    assert ALLOW not in answered.headers
    assert "origin" not in names(answered, "Vary")


# As Chromium has it


QUERY: Final = """
async ([url, key, accept]) => {
  const response = await fetch(url, {
    method: "POST",
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json", Accept: accept },
    body: JSON.stringify({ query: "{ account { balance } }" }),
  });
  return [response.status, await response.json(), [...response.headers.keys()].sort()];
}
"""
READ: Final = """
async ([url, key]) => {
  const response = await fetch(url, { headers: { Authorization: `Bearer ${key}` } });
  const text = await response.text();
  return [response.status, text.trim().split("\\n").length, [...response.headers.keys()].sort()];
}
"""
STREAM: Final = """
async ([url, key]) => {
  const response = await fetch(url, {
    method: "POST",
    headers: {
      Authorization: `Bearer ${key}`, "Content-Type": "application/json", Accept: "text/event-stream",
    },
    body: JSON.stringify({ query: "subscription { balanceChanged { balance } }" }),
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("data: ")) text += (await reader.read()).value;
  await reader.cancel();
  return JSON.parse(text.split("data: ")[1].split("\\n")[0]);
}
"""
SOCKET: Final = """
async ([url]) => {
  const socket = new WebSocket(url.replace("http", "ws"), "graphql-transport-ws");
  return new Promise((resolve) => {
    socket.onopen = () => { socket.close(); resolve("open"); };
    socket.onerror = () => resolve("refused");
  });
}
"""
COOKIE: Final = """
async ([url, key]) => {
  const headers = { Authorization: `Bearer ${key}` };
  const response = await fetch(`${url}/session`, { method: "POST", headers });
  return response.status;
}
"""


@pytest.fixture
async def elsewhere() -> AsyncIterator[tuple[str, Page]]:
    """A page of another origin, and the origin."""

    async def page_of(_request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>Elsewhere</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page_of)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with launched() as browser:
        page = await browser.new_page()
        await page.goto(origin)
        yield origin, page
    await runner.cleanup()


async def evaluated(page: Page, script: str, *given: str) -> Any:
    """What the script returned, or the name of the error that the browser raised."""
    return await page.evaluate(f"(given) => ({script})(given).catch((error) => error.name)", list(given))


async def test_a_page_of_an_allowed_origin_reads_answers_exports_and_streams(
    serve: Serve, elsewhere: tuple[str, Page]
) -> None:
    origin, page = elsewhere
    gateway = await served(serve, origin)
    newer = "application/graphql-response+json"
    status, answer, headers = await evaluated(page, QUERY, gateway.url, gateway.key, newer)
    assert (status, answer) == (200, {"data": {"account": {"balance": "5.00"}}})
    assert {"ratelimit", "ratelimit-policy", "x-request-id"} <= set(headers)
    status, answer, headers = await evaluated(page, QUERY, gateway.url, "eco_no", newer)
    assert (status, answer["errors"][0]["extensions"]["code"]) == (401, "UNAUTHENTICATED")
    assert "www-authenticate" in headers
    export = gateway.url.replace("/graphql", "/billing/transactions.csv")
    status, lines, headers = await evaluated(page, READ, export, gateway.key)
    assert (status, lines) == (200, 2)
    assert "content-disposition" in headers
    assert await evaluated(page, STREAM, gateway.url, gateway.key) == {"data": {"balanceChanged": {"balance": "5.00"}}}
    assert await evaluated(page, SOCKET, gateway.url) == "open"
    # The cookie of event streams is for the gateway's own pages.
    assert await evaluated(page, COOKIE, gateway.url, gateway.key) == "TypeError"


async def test_a_page_of_another_origin_reads_nothing(serve: Serve, elsewhere: tuple[str, Page]) -> None:
    _, page = elsewhere
    gateway = await served(serve)
    export = gateway.url.replace("/graphql", "/billing/transactions.csv")
    assert await evaluated(page, QUERY, gateway.url, gateway.key, "application/json") == "TypeError"
    assert await evaluated(page, READ, export, gateway.key) == "TypeError"
    assert await evaluated(page, STREAM, gateway.url, gateway.key) == "TypeError"
    assert await evaluated(page, SOCKET, gateway.url) == "refused"
