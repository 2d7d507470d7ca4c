"""Server-sent events by the protocol of graphql-sse, distinct connections, byte for byte."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from db.errors import DatabaseUnavailable
from gateway.operations import Refused
from gateway.streams.subscription import Ended
from ledger.errors import BadCursor
from tests.gateway.streams.conftest import Gateway, Serve
from tests.gateway.streams.event_client import COMPLETE, EVENTS, requested
from tests.gateway.streams.tap import Asked, event, until

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)

VIEWER = "{ viewer { scope } }"


# The event stream


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_query_is_one_next_and_complete(gateway: Gateway, method: str) -> None:
    async with requested(gateway, VIEWER, method=method) as client:
        assert client.status == 200
        assert await client.block() == 'event: next\ndata: {"data":{"viewer":{"scope":"READ"}}}'
        assert await client.block() == COMPLETE
        assert await client.block() is None


async def test_the_headers_come_at_once_and_keep_proxies_from_keeping(gateway: Gateway) -> None:
    async with requested(gateway) as client:
        expected = {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-cache, no-transform",
            "x-accel-buffering": "no",
            "transfer-encoding": "chunked",
        }
        assert {name: client.headers.get(name) for name in expected} == expected
        assert "x-request-id" in client.headers


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_subscription_streams_with_the_cursors_as_ids(gateway: Gateway, method: str) -> None:
    async with requested(gateway, method=method) as client:
        stream = await gateway.tap.stream()
        for number in range(3):
            stream.give(event(number))
            assert await client.block() == f'event: next\nid: cursor-{number}\ndata: {{"data":{{"number":{number}}}}}'
        stream.give(None)
        assert await client.block() == COMPLETE
        assert await client.block() is None


async def test_a_connection_goes_on_after_a_stream(gateway: Gateway) -> None:
    async with requested(gateway, VIEWER) as client:
        while await client.block() is not None:
            pass
        client.writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.read_head()
        assert (client.status, await client.body()) == (200, {"status": "ok"})


async def test_clients_of_http_1_0_read_until_the_connection_is_closed(gateway: Gateway) -> None:
    async with requested(gateway, VIEWER, version="1.0") as client:
        assert "transfer-encoding" not in client.headers
        body = b'event: next\ndata: {"data":{"viewer":{"scope":"READ"}}}\n\nevent: complete\ndata:\n\n'
        assert await client.read_to_end() == body


@pytest.mark.parametrize(
    ("header", "last_event_id"), [("", None), ("cursor-7", "cursor-7"), ("not a cursor", "not a cursor")]
)
async def test_the_last_event_id_is_handed_on_beside_the_variables(
    gateway: Gateway, header: str, last_event_id: str | None
) -> None:
    async with requested(gateway, variables={"after": "cursor-3"}, headers={"Last-Event-ID": header}):
        await gateway.tap.stream()
        assert gateway.tap.asked == [Asked(gateway.key[:12], {"after": "cursor-3"}, last_event_id)]


@pytest.mark.parametrize(
    ("accept", "of_query", "of_subscription"),
    [
        (EVENTS, True, True),
        (EVENTS.upper() + "; q=1", True, True),
        (f"application/json;q=0.9, {EVENTS}", True, True),
        (f"application/graphql-response+json, application/json, {EVENTS}, multipart/mixed", False, True),
        (f"{EVENTS}, */*", False, True),
        (f"application/json, {EVENTS};q=0.1", False, True),
        (f"application/json, {EVENTS};q=0", False, False),
        ("application/json", False, False),
        ("*/*", False, False),
        ("text/*", False, False),
        ("", False, False),
    ],
)
async def test_accepted_events_answer_subscriptions_and_preferred_events_answer_all(
    gateway: Gateway, accept: str, of_query: bool, of_subscription: bool
) -> None:
    async with requested(gateway, VIEWER, headers={"Accept": accept}) as client:
        assert client.headers["content-type"].startswith(EVENTS) == of_query
    async with requested(gateway, "subscription { balanceChanged { cursor } }", headers={"Accept": accept}) as client:
        assert client.headers["content-type"].startswith(EVENTS) == of_subscription
        if not of_subscription:
            assert client.status == 400
            assert (await client.body())["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT"}


# Errors


@pytest.mark.parametrize(
    ("query", "variables", "code"),
    [
        ("{", None, "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", None, "GRAPHQL_VALIDATION_FAILED"),
        ("query ($id: ID!) { node(id: $id) { id } }", None, "BAD_USER_INPUT"),
        ("{ " + " ".join(f"a{number}: viewer {{ scope }}" for number in range(16)) + " }", None, "QUERY_TOO_COMPLEX"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_the_stream_reports_invalid_operations(
    gateway: Gateway, method: str, query: str, variables: dict[str, Any] | None, code: str
) -> None:
    before = gateway.metric("billing_errors_total", code=code) or 0
    async with requested(gateway, query, method=method, variables=variables) as client:
        assert (client.status, client.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        name, data = await client.next()
        assert (name, data.keys()) == (None, {"errors"})
        assert [one["extensions"]["code"] for one in data["errors"]] == [code]
        assert await client.block() == COMPLETE
        assert await client.block() is None
    assert gateway.metric("billing_errors_total", code=code) == before + 1


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (Refused([{"message": "no", "extensions": {"code": "FORBIDDEN"}}]), "FORBIDDEN"),
        (BadCursor("not a cursor"), "BAD_CURSOR"),
        (DatabaseUnavailable("gone"), "UNAVAILABLE"),
        (ZeroDivisionError("secret"), "INTERNAL"),
        (TimeoutError("somebody else's"), "INTERNAL"),
    ],
)
async def test_a_stream_that_does_not_begin_says_why(gateway: Gateway, raised: Exception, code: str) -> None:
    gateway.tap.refusal = raised
    async with requested(gateway) as client:
        _, data = await client.next()
        assert [one["extensions"]["code"] for one in data["errors"]] == [code]
        assert await client.block() == COMPLETE
        assert await client.block() is None


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (Ended([{"message": "too slow", "extensions": {"code": "LAGGED", "cursor": "cursor-1"}}]), "LAGGED"),
        (DatabaseUnavailable("gone"), "UNAVAILABLE"),
        (ConnectionResetError("the database's, not the client's"), "INTERNAL"),
    ],
)
async def test_a_stream_that_breaks_off_says_why(gateway: Gateway, raised: Exception, code: str) -> None:
    async with requested(gateway) as client:
        stream = await gateway.tap.stream()
        stream.give(event(1))
        stream.give(raised)
        assert await client.next() == ("cursor-1", {"data": {"number": 1}})
        name, data = await client.next()
        # Without an id, so that a browser comes back with that of the last event.
        assert (name, data["errors"][0]["extensions"]["code"]) == (None, code)
        assert await client.block() == COMPLETE
        assert await client.block() is None


@pytest.mark.parametrize("key", ["", "Bearer nonsense"])
async def test_without_a_valid_key_there_is_no_stream(gateway: Gateway, key: str) -> None:
    async with requested(gateway, headers={"Authorization": key}) as client:
        assert client.status == 401
        assert (await client.body())["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}


@pytest.mark.parametrize(
    ("content_type", "status", "code"),
    [("text/plain", 415, "UNSUPPORTED_MEDIA_TYPE"), ("application/json", 400, "BAD_USER_INPUT")],
)
async def test_invalid_requests_are_refused_as_over_http(
    gateway: Gateway, content_type: str, status: int, code: str
) -> None:
    headers = {"Authorization": f"Bearer {gateway.key}", "Accept": EVENTS, "Content-Type": content_type}
    async with gateway.session.post(gateway.url, data=b"{}", headers=headers) as response:
        assert (response.status, (await response.json())["errors"][0]["extensions"]) == (status, {"code": code})


async def test_a_head_is_no_stream(gateway: Gateway) -> None:
    headers = {"Authorization": f"Bearer {gateway.key}", "Accept": EVENTS}
    async with gateway.session.head(gateway.url, params={"query": VIEWER}, headers=headers) as response:
        assert (response.status, response.content_type) == (200, "application/json")


# Signs of life, and clients that are gone or take nothing


async def test_a_silent_stream_gives_signs_of_life(serve: Serve) -> None:
    gateway = await serve(heartbeat_seconds=0.3)
    async with requested(gateway) as client:
        stream = await gateway.tap.stream()
        assert [await client.block() for _ in range(3)] == [":"] * 3
        stream.give(event(1))
        while (got := await client.block()) == ":":
            pass
        assert got == 'event: next\nid: cursor-1\ndata: {"data":{"number":1}}'


async def test_a_busy_stream_needs_no_signs_of_life(serve: Serve) -> None:
    gateway = await serve(heartbeat_seconds=5)
    async with requested(gateway) as client:
        stream = await gateway.tap.stream()
        for number in range(60):
            await asyncio.sleep(0.1)
            stream.give(event(number))
            assert (await client.next())[0] == f"cursor-{number}"


async def test_a_client_that_is_gone_is_noticed_at_once(serve: Serve) -> None:
    gateway = await serve(heartbeat_seconds=600)
    before = asyncio.all_tasks()
    async with requested(gateway) as client:
        stream = await gateway.tap.stream()
        stream.give(event(1))
        await client.next()
        client.writer.close()
        await asyncio.wait_for(stream.closed.wait(), 10)
    await until(lambda: asyncio.all_tasks() <= before)
    assert gateway.metric("billing_subscribers", transport="sse") == 0


async def test_a_client_that_leaves_before_the_stream_begins_is_noticed_too(gateway: Gateway) -> None:
    gateway.tap.gate = asyncio.Event()
    before = asyncio.all_tasks()
    async with requested(gateway):
        assert gateway.metric("billing_subscribers", transport="sse") == 1
    await until(lambda: gateway.metric("billing_subscribers", transport="sse") == 0)
    await until(lambda: asyncio.all_tasks() <= before)
    assert gateway.tap.streams == []


async def test_a_client_that_takes_nothing_makes_its_stream_wait(gateway: Gateway) -> None:
    doomed = await gateway.new_key()
    async with requested(gateway, limit=1_000, headers={"Authorization": f"Bearer {doomed.secret}"}) as client:
        stream = await gateway.tap.stream()
        for number in range(400):
            stream.give(event(number, padding=100_000))
        before, taken = -1, 0
        while before != taken:
            await asyncio.sleep(0.3)
            before, taken = taken, stream.taken
        assert 0 < taken < 400
        for number in range(taken + 20):
            assert (await client.next())[0] == f"cursor-{number}"
        await gateway.keys.revoke(doomed.row.prefix)
        await asyncio.wait_for(stream.closed.wait(), 20)
        await until(lambda: gateway.connections == 0)


# Keys that end, the end of the process, what is counted


async def test_a_client_that_takes_nothing_for_long_is_cut_off(serve: Serve) -> None:
    gateway = await serve(write_timeout_seconds=0.5)
    async with requested(gateway):
        stream = await gateway.tap.stream()
        for number in range(400):
            stream.give(event(number, padding=100_000))
        await asyncio.wait_for(stream.closed.wait(), 20)
        await until(lambda: gateway.connections == 0)


async def test_an_ended_key_ends_its_streams_and_no_others(gateway: Gateway) -> None:
    doomed = await gateway.new_key()
    async with (
        requested(gateway, headers={"Authorization": f"Bearer {doomed.secret}"}) as client,
        requested(gateway) as other,
    ):
        await gateway.tap.stream(1)
        await gateway.keys.revoke(doomed.row.prefix)
        _, data = await client.next()
        error = {"message": "the API key has expired or was revoked", "extensions": {"code": "UNAUTHENTICATED"}}
        assert data == {"errors": [error]}
        assert await client.block() == COMPLETE
        assert await client.block() is None
        for stream in gateway.tap.streams:
            stream.give(event(1))
        assert await other.next() == ("cursor-1", {"data": {"number": 1}})


async def test_streams_end_without_completion_when_the_process_stops(gateway: Gateway) -> None:
    async with requested(gateway) as client:
        stream = await gateway.tap.stream()
        stream.give(event(1))
        await client.next()
        stopping = asyncio.create_task(gateway.runner.cleanup())
        assert await client.block() is None
        assert await client.read_to_end() == b""
        await asyncio.wait_for(stopping, 20)


async def test_a_stream_is_no_request_that_is_being_answered(gateway: Gateway) -> None:
    async with requested(gateway) as client:
        stream = await gateway.tap.stream()
        assert gateway.metric("billing_http_requests_running") == 0
        assert (
            gateway.metric("billing_http_requests_total", route="/graphql", method="POST", status="200", code="") == 1
        )
        stream.give(event(1, gateway.services.clock()))
        await client.next()
        assert gateway.metric("billing_subscribers", transport="sse") == 1
        assert gateway.metric("billing_stream_events_total", transport="sse") == 1
        assert gateway.metric("billing_event_delay_seconds_count") == 1
