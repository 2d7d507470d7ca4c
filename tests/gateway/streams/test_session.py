"""The cookie of event streams: who gets it, what it is good for, and what browsers make of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from http.cookies import Morsel
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from access.keys import KeyScope, NewKey
from access.tokens import Purpose
from gateway.streams.session import LIFETIME
from tests.chromium import launched
from tests.gateway.streams.conftest import Gateway
from tests.gateway.streams.event_client import COMPLETE, requested
from tests.gateway.streams.tap import SUBSCRIPTION, event
from tests.statements import watched

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)

VIEWER = "{ viewer { scope } }"


async def _session(gateway: Gateway, headers: dict[str, str] | None = None) -> tuple[int, Morsel[str] | None]:
    """The status, and the cookie if there is one."""
    given = {"Authorization": f"Bearer {gateway.key}"} | (headers or {})
    async with gateway.session.post(f"{gateway.url}/session", headers=given) as response:
        gateway.session.cookie_jar.clear()
        return response.status, response.cookies.get("billing_stream")


async def _token(gateway: Gateway, headers: dict[str, str] | None = None) -> str:
    status, cookie = await _session(gateway, headers)
    assert status == 204
    assert cookie is not None
    return cookie.value


async def _status(gateway: Gateway, token: str, headers: dict[str, str] | None = None, *, method: str = "GET") -> int:
    given = {"Authorization": "", "Cookie": f"billing_stream={token}"} | (headers or {})
    async with requested(gateway, VIEWER, method=method, headers=given) as client:
        if client.status == 200:
            assert await client.next() == (None, {"data": {"viewer": {"scope": "READ"}}})
            assert await client.block() == COMPLETE
        return client.status


async def test_the_cookie_is_for_streams_of_this_origin_and_out_of_reach_for_scripts(gateway: Gateway) -> None:
    status, cookie = await _session(gateway)
    assert status == 204
    assert cookie is not None
    assert {name: cookie[name] for name in ("path", "max-age", "httponly", "samesite", "secure", "domain")} == {
        "path": "/graphql",
        "max-age": str(12 * 3600),
        "httponly": True,
        "samesite": "Strict",
        "secure": "",
        "domain": "",
    }
    assert gateway.key not in cookie.OutputString()
    assert await _status(gateway, cookie.value) == 200


@pytest.mark.parametrize("headers", [{"X-Forwarded-Proto": "https"}, {"X-Forwarded-Proto": "HTTPS, http"}])
async def test_the_cookie_is_secure_where_the_browser_sees_https(gateway: Gateway, headers: dict[str, str]) -> None:
    _, cookie = await _session(gateway, headers)
    assert cookie is not None
    assert cookie["secure"] is True


async def test_the_cookie_is_secure_for_pages_of_https(gateway: Gateway) -> None:
    _, cookie = await _session(gateway, {"Origin": f"https://127.0.0.1:{gateway.port}"})
    assert cookie is not None
    assert cookie["secure"] is True


@pytest.mark.parametrize("key", ["nonsense", "Bearer nonsense"])
async def test_a_cookie_takes_a_valid_key(gateway: Gateway, key: str) -> None:
    status, cookie = await _session(gateway, {"Authorization": key})
    assert (status, cookie) == (401, None)


async def test_the_cookie_is_good_for_event_streams_alone(gateway: Gateway) -> None:
    token = await _token(gateway)
    assert await _status(gateway, token) == 200
    assert await _status(gateway, token, method="POST") == 401
    assert await _status(gateway, token, {"Accept": "application/json"}) == 401
    assert await _status(gateway, token, {"Accept": "text/event-stream, */*"}) == 401
    cookie = {"Cookie": f"billing_stream={token}"}
    for path in ("/billing/transactions", "/graphql?query={viewer{scope}}"):
        async with gateway.session.get(f"http://127.0.0.1:{gateway.port}{path}", headers=cookie) as response:
            assert response.status == 401
    async with gateway.session.post(f"{gateway.url}/session", headers=cookie) as response:
        assert response.status == 401


async def test_a_key_comes_before_the_cookie(gateway: Gateway) -> None:
    token = await _token(gateway)
    assert await _status(gateway, token, {"Authorization": "Bearer nonsense"}) == 401
    assert await _status(gateway, "nonsense", {"Authorization": f"Bearer {gateway.key}"}) == 200


async def test_tokens_of_other_purposes_are_no_cookies(gateway: Gateway) -> None:
    principal = await gateway.services.authenticator.principal(gateway.key)
    token = await gateway.services.tokens.issue(principal, Purpose.EXPORT, timedelta(hours=1))
    assert await _status(gateway, token) == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
async def test_pages_of_other_origins_may_not_use_it_nor_set_it_nor_end_it(
    gateway: Gateway, headers: dict[str, str], status: int
) -> None:
    given = {name: value.format(port=gateway.port) for name, value in headers.items()}
    token = await _token(gateway)
    assert await _status(gateway, token, given) == status
    assert (await _session(gateway, given))[0] == (204 if status == 200 else 403)
    given["Cookie"] = f"billing_stream={token}"
    async with gateway.session.delete(f"{gateway.url}/session", headers=given) as response:
        assert response.status == (204 if status == 200 else 403)
    assert await _status(gateway, token) == (401 if status == 200 else 200)


async def test_a_session_takes_the_place_of_the_browser_s_former_one(gateway: Gateway) -> None:
    former = await _token(gateway)
    token = await _token(gateway, {"Cookie": f"billing_stream={former}"})
    assert (await _status(gateway, former), await _status(gateway, token)) == (401, 200)


async def test_ending_a_session_clears_the_cookie(gateway: Gateway) -> None:
    token = await _token(gateway)
    headers = {"Cookie": f"billing_stream={token}"}
    for _ in range(2):
        async with gateway.session.delete(f"{gateway.url}/session", headers=headers) as response:
            cookie = response.cookies["billing_stream"]
            assert (response.status, cookie.value, cookie["max-age"], cookie["path"]) == (204, "", "0", "/graphql")
    assert await _status(gateway, token) == 401


@pytest.mark.parametrize("token", ["A" * 32, "nonsense"])
async def test_ending_no_session_writes_nothing(gateway: Gateway, token: str) -> None:
    """Anybody may send that, without a key."""
    with watched(gateway.services.database) as sent:
        headers = {"Cookie": f"billing_stream={token}"}
        async with gateway.session.delete(f"{gateway.url}/session", headers=headers) as response:
            assert response.status == 204
    assert [statement for statement, _ in sent if not statement.startswith("SELECT")] == []
    assert len(sent) == (1 if len(token) == 32 else 0)


async def test_a_stream_by_cookie_ends_with_its_key(gateway: Gateway) -> None:
    doomed = await gateway.keys.create(
        NewKey(KeyScope.READ, "tests", gateway.account_id, expires_at=datetime.now(UTC) + timedelta(seconds=4))
    )
    token = await _token(gateway, {"Authorization": f"Bearer {doomed.secret}"})
    headers = {"Authorization": "", "Cookie": f"billing_stream={token}"}
    async with requested(gateway, method="GET", headers=headers) as client:
        await gateway.tap.stream()
        _, data = await client.next()
        assert data["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}
        assert await client.block() == COMPLETE
    assert await _status(gateway, token) == 401


async def test_using_the_cookie_is_using_the_key(gateway: Gateway) -> None:
    token = await _token(gateway)
    await gateway.services.authenticator.flush_last_used()
    (before,) = await gateway.keys.list(gateway.account_id)
    await _status(gateway, token)
    await gateway.services.authenticator.flush_last_used()
    (after,) = await gateway.keys.list(gateway.account_id)
    assert before.last_used_at is not None
    assert after.last_used_at is not None
    assert after.last_used_at > before.last_used_at


def test_the_cookie_lives_half_a_day(backend: str) -> None:
    assert timedelta(hours=12) == LIFETIME


# As Chromium has it


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with launched() as browser:
        yield browser


@pytest.fixture
async def page(browser: Browser, gateway: Gateway) -> AsyncIterator[Page]:
    """A page of the gateway's own origin."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"http://127.0.0.1:{gateway.port}/healthz")
    yield page
    await context.close()


BEGIN = """
async ([key, method]) => {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const response = await fetch("/graphql/session", { method, headers });
  return [response.status, document.cookie];
}
"""

LISTEN = """
(url) => {
  window.got = [];
  window.source = new EventSource(url, { withCredentials: true });
  source.addEventListener("next", (e) => got.push([e.lastEventId, JSON.parse(e.data)]));
  source.addEventListener("complete", () => { got.push("complete"); source.close(); });
  source.addEventListener("error", () => { if (source.readyState === EventSource.CLOSED) got.push("failed"); });
}
"""


async def _got(page: Page, count: int) -> list[Any]:
    await page.wait_for_function("(count) => got.length >= count", arg=count, timeout=20_000)
    got: list[Any] = await page.evaluate("got")
    return got


def _address(gateway: Gateway, host: str = "127.0.0.1") -> str:
    return f"http://{host}:{gateway.port}/graphql?query={SUBSCRIPTION}"


async def test_an_event_source_streams_and_goes_on_by_itself_where_it_was_cut_off(gateway: Gateway, page: Page) -> None:
    assert await page.evaluate(BEGIN, [gateway.key, "POST"]) == [204, ""]
    await page.evaluate(LISTEN, _address(gateway))
    (await gateway.tap.stream()).give(event(1))
    assert await _got(page, 1) == [["cursor-1", {"data": {"number": 1}}]]
    assert gateway.runner.server is not None
    for connection in gateway.runner.server.connections:
        assert connection.transport is not None
        connection.transport.abort()
    stream = await gateway.tap.stream(1)
    assert [one.last_event_id for one in gateway.tap.asked] == [None, "cursor-1"]
    stream.give(event(2))
    stream.give(None)
    assert await _got(page, 3) == [
        ["cursor-1", {"data": {"number": 1}}],
        ["cursor-2", {"data": {"number": 2}}],
        "complete",
    ]


async def test_an_event_source_without_a_session_or_after_it_fails(gateway: Gateway, page: Page) -> None:
    await page.evaluate(LISTEN, _address(gateway))
    assert await _got(page, 1) == ["failed"]
    assert await page.evaluate(BEGIN, [gateway.key, "POST"]) == [204, ""]
    assert await page.evaluate(BEGIN, [None, "DELETE"]) == [204, ""]
    await page.evaluate(LISTEN, _address(gateway))
    assert await _got(page, 1) == ["failed"]
    assert gateway.tap.asked == []


async def test_a_page_of_another_origin_gets_no_stream(gateway: Gateway, page: Page) -> None:
    assert await page.evaluate(BEGIN, [gateway.key, "POST"]) == [204, ""]
    # Another site, then another origin of the same site.
    for host in ("localhost", "127.0.0.1"):
        other = await page.context.new_page()
        await other.route("**/elsewhere", lambda route: route.fulfill(body="elsewhere", content_type="text/html"))
        port = gateway.port if host == "localhost" else 1_024
        await other.goto(f"http://{host}:{port}/elsewhere")
        await other.evaluate(LISTEN, _address(gateway))
        assert await _got(other, 1) == ["failed"]
        await asyncio.sleep(0.2)
        assert gateway.tap.asked == []
