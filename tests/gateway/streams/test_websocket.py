"""The protocol `graphql-transport-ws`, section by section as its specification has them, and what we add to it."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import WSMsgType, WSServerHandshakeError

from db.errors import DatabaseUnavailable
from gateway.operations import Refused
from gateway.streams.messages import MAX_ID
from gateway.streams.subscription import Ended
from ledger.errors import BadCursor
from tests.gateway.streams.conftest import Gateway, Serve
from tests.gateway.streams.socket_client import PROTOCOL, SocketClient, connected, opened
from tests.gateway.streams.tap import Stream, event, until

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)

VIEWER = "{ viewer { scope } }"
ANSWER = {"data": {"viewer": {"scope": "READ"}}}


async def received_error(client: SocketClient) -> Any:
    """An `error` message, down to its id, and its first error's message and code."""
    message = await client.received()
    assert (message["type"], len(message["payload"])) == ("error", 1), message
    (first,) = message["payload"]
    return message["id"], first["extensions"]["code"], first["message"]


# Communication


@pytest.mark.parametrize("protocols", [(PROTOCOL,), ("graphql-ws", PROTOCOL)])
async def test_the_subprotocol_is_chosen_among_those_offered(gateway: Gateway, protocols: tuple[str, ...]) -> None:
    async with opened(gateway, protocols=protocols) as client:
        assert client.socket.protocol == PROTOCOL


@pytest.mark.parametrize("protocols", [(), ("graphql-ws",), ("GRAPHQL-TRANSPORT-WS",)])
async def test_other_subprotocols_are_not_acceptable(gateway: Gateway, protocols: tuple[str, ...]) -> None:
    async with opened(gateway, protocols=protocols) as client:
        assert client.socket.protocol is None
        assert await client.closed() == (4406, "Subprotocol not acceptable")


@pytest.mark.parametrize("header", ["Sec-WebSocket-Version", "Sec-WebSocket-Key", "Connection"])
async def test_an_invalid_handshake_is_refused_in_the_shape_of_errors(gateway: Gateway, header: str) -> None:
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol": PROTOCOL,
    } | {header: "keep-alive"}
    async with gateway.session.get(gateway.url, headers=headers) as response:
        assert response.status == 400
        assert (await response.json())["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT"}


async def test_messages_of_several_operations_are_interleaved_each_in_its_order(gateway: Gateway) -> None:
    async with connected(gateway) as client:
        for name in ("a", "b"):
            await client.subscribe(name)
        streams = [await gateway.tap.stream(0), await gateway.tap.stream(1)]
        for number in range(50):
            for stream in streams:
                stream.give(event(number))
        await client.subscribe("c", VIEWER)
        got: dict[str, list[Any]] = {"a": [], "b": [], "c": []}
        while sum(map(len, got.values())) < 102:
            message = await client.received()
            got[message["id"]].append(message.get("payload", message["type"]))
    assert got["a"] == got["b"] == [{"data": {"number": number}} for number in range(50)]
    assert got["c"] == [ANSWER, "complete"]


async def test_the_client_closes_normally(gateway: Gateway) -> None:
    async with connected(gateway) as client:
        await client.subscribe("a")
        stream = await gateway.tap.stream()
        assert await client.socket.close(code=1000)
        assert client.socket.close_code == 1000
    await asyncio.wait_for(stream.closed.wait(), 20)


async def test_a_client_that_vanishes_leaves_nothing_behind(gateway: Gateway) -> None:
    before = asyncio.all_tasks()
    async with connected(gateway) as client:
        for name in ("a", "b"):
            await client.subscribe(name)
            await gateway.tap.stream(len(gateway.tap.streams))
        client.transport.abort()
        for stream in gateway.tap.streams:
            await asyncio.wait_for(stream.closed.wait(), 20)
    await until(lambda: asyncio.all_tasks() <= before)
    assert gateway.metric("billing_subscribers", transport="websocket") == 0


async def test_streams_of_a_closed_socket_end_without_interruption(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending, may_end = [], asyncio.Event()

    async def end_slowly(stream: Stream) -> None:
        ending.append(stream)
        await may_end.wait()
        stream.closed.set()

    monkeypatch.setattr(Stream, "aclose", end_slowly)
    async with connected(gateway) as client:
        for name in ("a", "b", "completed"):
            await client.subscribe(name)
            await gateway.tap.stream(len(gateway.tap.streams))
        await client.complete("completed")
        await until(lambda: len(ending) == 1)
        client.transport.abort()
        await until(lambda: len(ending) == 3)
        may_end.set()
        for stream in gateway.tap.streams:
            await asyncio.wait_for(stream.closed.wait(), 20)


# ConnectionInit and ConnectionAck


async def test_a_socket_without_connection_init_times_out(serve: Serve) -> None:
    gateway = await serve(connection_init_seconds=1)
    async with opened(gateway) as client:
        await client.send({"type": "ping"})
        assert await client.received() == {"type": "pong"}
        assert await client.closed() == (4408, "Connection initialisation timeout")


async def test_the_timeout_ends_with_connection_init(serve: Serve) -> None:
    gateway = await serve(connection_init_seconds=1)
    async with connected(gateway) as client:
        await asyncio.sleep(1.5)
        await client.send({"type": "ping"})
        assert await client.received() == {"type": "pong"}


async def test_a_second_connection_init_is_one_too_many(gateway: Gateway) -> None:
    async with connected(gateway) as client:
        await client.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {gateway.key}"}})
        assert await client.closed() == (4429, "Too many initialisation requests")


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
async def test_the_key_comes_in_the_payload_and_beats_the_header(gateway: Gateway, name: str) -> None:
    async with opened(gateway, headers={"Authorization": "Bearer nonsense"}) as client:
        await client.send({"type": "connection_init", "payload": {name: f"Bearer {gateway.key}", "other": 1}})
        assert await client.received() == {"type": "connection_ack"}


@pytest.mark.parametrize("init", [{}, {"payload": None}, {"payload": {}}])
async def test_the_key_may_come_in_the_header(gateway: Gateway, init: dict[str, Any]) -> None:
    async with opened(gateway, headers={"Authorization": f"Bearer {gateway.key}"}) as client:
        await client.send({"type": "connection_init", **init})
        assert await client.received() == {"type": "connection_ack"}
        await client.subscribe("a", VIEWER)
        assert await client.received() == {"id": "a", "type": "next", "payload": ANSWER}


@pytest.mark.parametrize("given", [None, "", "nonsense", "Bearer nonsense", "Bearer eco_aaaaaaaa_" + "A" * 32, 5, {}])
async def test_without_a_valid_key_the_connection_is_forbidden(gateway: Gateway, given: object) -> None:
    async with opened(gateway) as client:
        await client.send({"type": "connection_init", "payload": {} if given is None else {"Authorization": given}})
        assert await client.closed() == (4403, "Forbidden")


async def test_a_revoked_key_is_forbidden(gateway: Gateway) -> None:
    await gateway.keys.revoke(gateway.key[:12])
    async with opened(gateway) as client:
        await client.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {gateway.key}"}})
        assert await client.closed() == (4403, "Forbidden")


# Ping and Pong


@pytest.mark.parametrize("payload", [None, {}, {"sent": 5}])
async def test_a_ping_is_answered_with_its_payload_before_and_after_the_acknowledgement(
    gateway: Gateway, payload: Any
) -> None:
    expected = {"type": "pong"} if payload is None else {"type": "pong", "payload": payload}
    async with opened(gateway) as client:
        await client.send({"type": "ping", "payload": payload})
        assert await client.received() == expected
        await client.init(gateway.key)
        await client.send({"type": "ping", "payload": payload})
        assert await client.received() == expected


async def test_a_ping_whose_payload_cannot_be_repeated_is_no_message(gateway: Gateway) -> None:
    async with connected(gateway) as client:
        await client.socket.send_str('{"type":"ping","payload":{"in":' + "[" * 500 + "]" * 500 + "}}")
        assert await client.closed() == (4400, "Invalid message: payload is nested too deeply")


async def test_a_pong_may_come_unasked(gateway: Gateway) -> None:
    async with connected(gateway) as client:
        await client.send({"type": "pong", "payload": {"at": 1}})
        await client.send({"type": "pong"})
        await client.send({"type": "ping"})
        assert await client.received() == {"type": "pong"}


async def test_pings_of_the_socket_are_answered(gateway: Gateway) -> None:
    async with opened(gateway, autoping=False) as client:
        await client.socket.ping(b"here?")
        message = await client.socket.receive(timeout=20)
        assert (message.type, message.data) == (WSMsgType.PONG, b"here?")


async def test_a_peer_that_does_not_answer_the_heartbeat_is_closed(serve: Serve) -> None:
    gateway = await serve(heartbeat_seconds=1)
    async with connected(gateway, autoping=False) as client:
        await client.subscribe("a")
        stream = await gateway.tap.stream()
        assert (await client.socket.receive(timeout=20)).type == WSMsgType.PING
        await asyncio.wait_for(stream.closed.wait(), 20)


async def test_a_silent_peer_that_answers_the_heartbeat_stays(serve: Serve) -> None:
    gateway = await serve(heartbeat_seconds=1)
    async with connected(gateway, autoping=False) as client:
        await client.subscribe("a")
        stream = await gateway.tap.stream()
        for _ in range(3):
            message = await client.socket.receive(timeout=20)
            assert message.type == WSMsgType.PING
            await client.socket.pong(message.data)
        stream.give(event(1))
        assert await client.received() == {"id": "a", "type": "next", "payload": {"data": {"number": 1}}}


async def test_heartbeats_of_many_do_not_come_together(serve: Serve) -> None:
    """aiohttp puts times of more than 5 seconds off to whole ones: thousands of pings would come at once."""
    gateway = await serve(heartbeat_seconds=6)
    loop, beats = asyncio.get_running_loop(), list[float]()

    async def one(number: int) -> None:
        await asyncio.sleep(number / 5)
        async with opened(gateway, autoping=False) as client:
            assert (await client.socket.receive(timeout=20)).type == WSMsgType.PING
            beats.append(loop.time())

    await asyncio.gather(*map(one, range(10)))
    # Within two seconds lie at most three whole ones.
    assert len({round(beat, 1) for beat in beats}) > 3


# Subscribe, Next and Complete


async def test_nothing_is_executed_before_the_acknowledgement(gateway: Gateway) -> None:
    async with opened(gateway) as client:
        await client.subscribe("a", VIEWER)
        assert await client.closed() == (4401, "Unauthorized")


async def test_a_query_gets_one_next_and_complete(gateway: Gateway) -> None:
    async with connected(gateway) as client:
        query = "query A { viewer { scope } } query B($id: ID!) { node(id: $id) { id } }"
        await client.subscribe("a", query, operationName="A", variables=None, extensions={"x": 1})
        assert await client.received() == {"id": "a", "type": "next", "payload": ANSWER}
        assert await client.received() == {"id": "a", "type": "complete"}


async def test_errors_of_fields_come_with_the_data(gateway: Gateway) -> None:
    async with connected(gateway) as client:
        await client.subscribe("a", '{ viewer { scope } transaction(id: "txn_9_9") { id } }')
        message = await client.received()
        assert message["payload"]["data"] == {"viewer": {"scope": "READ"}, "transaction": None}
        assert await client.received() == {"id": "a", "type": "complete"}


async def test_ids_are_repeated_letter_by_letter_and_free_after_the_completion(gateway: Gateway) -> None:
    async with connected(gateway) as client:
        for name in ('"\\é\u2028"', "0", "x" * MAX_ID):
            for _ in range(2):
                await client.subscribe(name, VIEWER)
                assert await client.received() == {"id": name, "type": "next", "payload": ANSWER}
                assert await client.received() == {"id": name, "type": "complete"}


@pytest.mark.parametrize(
    ("name", "reason"), [("a", "Subscriber for a already exists"), ("é" * 200, "Subscriber for this id already exists")]
)
async def test_an_id_that_is_in_use_closes_the_socket(gateway: Gateway, name: str, reason: str) -> None:
    async with connected(gateway) as client:
        await client.subscribe(name)
        stream = await gateway.tap.stream()
        await client.subscribe(name, VIEWER)
        assert await client.closed() == (4409, reason)
    await asyncio.wait_for(stream.closed.wait(), 20)


async def test_events_of_every_size_come_whole(gateway: Gateway) -> None:
    """The length of a frame is said in one byte, two or eight."""
    async with connected(gateway, max_msg_size=0) as client:
        await client.subscribe("a")
        stream = await gateway.tap.stream()
        fixed = len(b'{"id":"a","type":"next","payload":}') + len(event(0, padding=1).payload) - 1
        for size in (fixed + 1, 125, 126, 65_535, 65_536, 1_000_000):
            stream.give(event(0, padding=size - fixed))
            message = await client.socket.receive(timeout=20)
            assert (message.type, len(message.data)) == (WSMsgType.TEXT, size)
            assert message.json()["payload"] == {"data": {"number": 0, "padding": "x" * (size - fixed)}}


async def test_a_stream_that_ends_is_completed(gateway: Gateway) -> None:
    async with connected(gateway) as client:
        await client.subscribe("a")
        stream = await gateway.tap.stream()
        stream.give(event(1))
        stream.give(None)
        assert await client.received() == {"id": "a", "type": "next", "payload": {"data": {"number": 1}}}
        assert await client.received() == {"id": "a", "type": "complete"}


async def test_a_client_that_completes_hears_no_more_of_it_and_may_use_the_id_again(gateway: Gateway) -> None:
    async with connected(gateway) as client:
        for number in range(3):
            await client.subscribe("a")
            stream = await gateway.tap.stream(number)
            stream.give(event(number))
            assert (await client.received())["payload"] == {"data": {"number": number}}
            await client.complete("a")
            await asyncio.wait_for(stream.closed.wait(), 20)
        await client.subscribe("a", VIEWER)
        assert await client.received() == {"id": "a", "type": "next", "payload": ANSWER}


async def test_a_query_that_is_completed_before_it_is_answered_is_not_answered(gateway: Gateway) -> None:
    async with connected(gateway) as client:
        gateway.tap.gate = asyncio.Event()
        await client.subscribe("a", VIEWER)
        await client.complete("a")
        await client.send({"type": "ping"})
        assert await client.received() == {"type": "pong"}
        gateway.tap.gate.set()
        await client.subscribe("b", VIEWER)
        assert (await client.received())["id"] == "b"


async def test_completing_what_is_unknown_or_over_is_ignored(gateway: Gateway) -> None:
    async with connected(gateway) as client:
        await client.complete("never")
        await client.subscribe("a", VIEWER)
        assert [(await client.received())["type"] for _ in range(2)] == ["next", "complete"]
        await client.complete("a")
        await client.send({"type": "ping"})
        assert await client.received() == {"type": "pong"}


async def test_completed_subscriptions_leave_no_tasks(gateway: Gateway) -> None:
    async with connected(gateway) as client:
        await client.subscribe("first")
        await gateway.tap.stream()
        before = asyncio.all_tasks()
        for number in range(50):
            await client.subscribe(f"{number}")
        await gateway.tap.stream(50)
        await until(lambda: len(asyncio.all_tasks()) == len(before) + 50)
        for number in range(50):
            await client.complete(f"{number}")
        await until(lambda: asyncio.all_tasks() <= before)
        assert gateway.metric("billing_subscribers", transport="websocket") == 1


# Error


@pytest.mark.parametrize(
    ("query", "payload", "code"),
    [
        ("{", {}, "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", {}, "GRAPHQL_VALIDATION_FAILED"),
        ("query ($id: ID!) { node(id: $id) { id } }", {}, "BAD_USER_INPUT"),
        ("query A { viewer { scope } }", {"operationName": "B"}, "BAD_USER_INPUT"),
        ("{ " + "viewer { scope } " * 400 + "}", {}, "QUERY_TOO_COMPLEX"),
    ],
)
async def test_an_invalid_operation_gets_only_an_error(
    gateway: Gateway, query: str, payload: dict[str, Any], code: str
) -> None:
    async with connected(gateway) as client:
        await client.subscribe("a", query, **payload)
        name, found, _ = await received_error(client)
        assert (name, found) == ("a", code)
        await client.subscribe("a", VIEWER)
        assert await client.received() == {"id": "a", "type": "next", "payload": ANSWER}


@pytest.mark.parametrize(
    ("refusal", "code", "message"),
    [
        (Refused([{"message": "no", "extensions": {"code": "FORBIDDEN"}}]), "FORBIDDEN", "no"),
        (BadCursor("not a cursor"), "BAD_CURSOR", "not a cursor"),
        (DatabaseUnavailable("gone"), "UNAVAILABLE", "the ledger cannot be reached at the moment: try again"),
        (ZeroDivisionError("secret"), "INTERNAL", "internal error"),
    ],
)
async def test_a_stream_that_does_not_begin_gets_an_error(
    gateway: Gateway, refusal: Exception, code: str, message: str
) -> None:
    gateway.tap.refusal = refusal
    async with connected(gateway) as client:
        await client.subscribe("a")
        assert await received_error(client) == ("a", code, message)
        await client.send({"type": "ping"})
        assert await client.received() == {"type": "pong"}


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (Ended([{"message": "too slow", "extensions": {"code": "LAGGED", "cursor": "cursor-1"}}]), "LAGGED"),
        (DatabaseUnavailable("gone"), "UNAVAILABLE"),
        (ZeroDivisionError("secret"), "INTERNAL"),
        (ConnectionResetError("the database's, not the client's"), "INTERNAL"),
    ],
)
async def test_a_stream_that_breaks_off_ends_with_an_error_and_the_socket_stays(
    gateway: Gateway, raised: Exception, code: str
) -> None:
    async with connected(gateway) as client:
        await client.subscribe("a")
        stream = await gateway.tap.stream()
        stream.give(event(1))
        stream.give(raised)
        assert (await client.received())["type"] == "next"
        message = await client.received()
        assert (message["id"], message["type"]) == ("a", "error")
        assert message["payload"][0]["extensions"]["code"] == code
        if isinstance(raised, Ended):
            assert message["payload"] == raised.errors
        await client.subscribe("a", VIEWER)
        assert await client.received() == {"id": "a", "type": "next", "payload": ANSWER}


# Invalid message


ID = "id must be a string of 1 to 1000 characters"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 5_000, "not JSON"),
        ("[]", "not an object"),
        ('"ping"', "not an object"),
        ("{}", "no type that a client sends"),
        ('{"type": null}', "no type that a client sends"),
        ('{"type": ["ping"]}', "no type that a client sends"),
        ('{"type": "start", "id": "a"}', "no type that a client sends"),
        ('{"type": "next", "id": "a", "payload": {}}', "no type that a client sends"),
        ('{"type": "connection_ack"}', "no type that a client sends"),
        ('{"type": "ping", "payload": 5}', "payload must be an object or null"),
        ('{"type": "pong", "payload": []}', "payload must be an object or null"),
        ('{"type": "connection_init", "payload": "key"}', "payload must be an object or null"),
        ('{"type": "subscribe", "payload": {"query": "{ x }"}}', "id must be a string of 1 to 1000 characters"),
        (
            '{"type": "subscribe", "id": "", "payload": {"query": "{ x }"}}',
            "id must be a string of 1 to 1000 characters",
        ),
        (
            '{"type": "subscribe", "id": 5, "payload": {"query": "{ x }"}}',
            "id must be a string of 1 to 1000 characters",
        ),
        (json.dumps({"type": "complete", "id": "x" * 1_001}), "id must be a string of 1 to 1000 characters"),
        ('{"type": "complete"}', "id must be a string of 1 to 1000 characters"),
        ('{"type": "subscribe", "id": "a"}', "query must be a string"),
        ('{"type": "subscribe", "id": "a", "payload": {"query": 5}}', "query must be a string"),
        (
            '{"type": "subscribe", "id": "a", "payload": {"query": "{ x }", "variables": []}}',
            "variables must be an object or null",
        ),
        (
            '{"type": "subscribe", "id": "a", "payload": {"query": "{ x }", "operationName": 5}}',
            "operationName must be a string or null",
        ),
        (
            '{"type": "subscribe", "id": "a", "payload": {"query": "{ x }", "extensions": 5}}',
            "extensions must be an object or null",
        ),
    ],
)
async def test_an_invalid_message_closes_the_socket(gateway: Gateway, text: str, reason: str) -> None:
    async with connected(gateway) as client:
        await client.socket.send_str(text)
        assert await client.closed() == (4400, f"Invalid message: {reason}")


async def test_messages_are_text(gateway: Gateway) -> None:
    async with connected(gateway) as client:
        await client.socket.send_bytes(b'{"type": "ping"}')
        assert await client.closed() == (4400, "Invalid message: not text")


async def test_a_message_larger_than_a_request_may_be_closes_the_socket(serve: Serve) -> None:
    gateway = await serve(max_body_bytes=2_000)
    async with connected(gateway) as client:
        await client.subscribe("a", VIEWER + " " * 1_500)
        assert (await client.received())["payload"] == ANSWER
        assert (await client.received())["type"] == "complete"
        await client.subscribe("a", VIEWER + " " * 2_000)
        code, _ = await client.closed()
        assert code == 1009


# What we add: origins, a bound on operations, clients that take nothing, keys that end, the end of the process


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 101),
        ("http://127.0.0.1:{port}", 101),
        ("https://127.0.0.1:{port}", 101),
        ("https://Console.Example", 101),
        ("https://console.example:443", 101),
        ("http://localhost:3000", 101),
        ("http://console.example", 403),
        ("https://console.example:8443", 403),
        ("http://127.0.0.1", 403),
        ("http://127.0.0.1:1", 403),
        ("http://evil.example", 403),
        ("http://127.0.0.1:{port}.evil.example", 403),
        ("http://127.0.0.1:{port}/path", 403),
        ("http://user@127.0.0.1:{port}", 403),
        ("null", 403),
        ("", 403),
        ("http://[", 403),
    ],
)
async def test_pages_of_other_origins_open_no_socket(serve: Serve, origin: str | None, status: int) -> None:
    gateway = await serve(allowed_origins="https://console.example, http://localhost:3000")
    headers = {} if origin is None else {"Origin": origin.format(port=gateway.port)}
    if status == 101:
        async with connected(gateway, headers=headers):
            return
    with pytest.raises(WSServerHandshakeError) as refused:
        async with opened(gateway, headers=headers):
            pass
    assert refused.value.status == status


async def test_a_socket_has_a_bound_on_its_operations(serve: Serve) -> None:
    gateway = await serve(max_subscriptions=2)
    async with connected(gateway) as client:
        await client.subscribe("a")
        await client.subscribe("b")
        await client.subscribe("c", VIEWER)
        assert await received_error(client) == (
            "c",
            "QUERY_TOO_COMPLEX",
            "the socket already runs 2 operations, which is the maximum",
        )
        await gateway.tap.stream(1)
        await client.complete("a")
        await client.subscribe("c", VIEWER)
        assert await client.received() == {"id": "c", "type": "next", "payload": ANSWER}


async def _stalled(gateway: Gateway, client: SocketClient) -> None:
    """Two streams whose client takes nothing, until no more fits anywhere on the way."""
    for name in ("a", "b"):
        await client.subscribe(name)
    for number in (0, 1):
        stream = await gateway.tap.stream(number)
        for event_number in range(400):
            stream.give(event(event_number, padding=100_000))
    before, taken = -1, 0
    while before != taken:
        await asyncio.sleep(0.3)
        before, taken = taken, sum(stream.taken for stream in gateway.tap.streams)
    assert 0 < taken < 800


async def test_a_client_that_takes_nothing_is_heard_and_its_other_streams_live_on(gateway: Gateway) -> None:
    async with connected(gateway, max_msg_size=0) as client:
        client.transport.pause_reading()
        await _stalled(gateway, client)
        first, second = gateway.tap.streams
        for number in range(1_000):
            await client.send({"type": "ping", "payload": {"number": number}})
        await client.complete("a")
        await asyncio.wait_for(first.closed.wait(), 20)
        assert not second.closed.is_set()
        client.transport.resume_reading()
        got: dict[str, list[int]] = {"a": [], "b": []}
        pongs = []
        while len(got["b"]) < 400:
            message = await client.received()
            if message["type"] == "pong":
                pongs.append(message["payload"]["number"])
            else:
                got[message["id"]].append(message["payload"]["data"]["number"])
        assert got["b"] == list(range(400))
        assert got["a"] == list(range(len(got["a"])))
        assert pongs[-1] == 999
        assert len(pongs) < 1_000
        await client.send({"type": "ping"})
        assert await client.received() == {"type": "pong"}


async def test_a_client_that_takes_nothing_for_long_is_cut_off(serve: Serve) -> None:
    gateway = await serve(write_timeout_seconds=0.5)
    async with connected(gateway) as client, connected(gateway) as other:
        client.transport.pause_reading()
        await client.subscribe("a")
        stalled = await gateway.tap.stream(0)
        await other.subscribe("a")
        live = await gateway.tap.stream(1)
        for number in range(400):
            stalled.give(event(number, padding=100_000))
        await asyncio.wait_for(stalled.closed.wait(), 20)
        await until(lambda: gateway.connections == 1)
        live.give(event(1))
        assert (await other.received())["payload"] == {"data": {"number": 1}}


async def test_an_ended_key_ends_its_sockets_and_no_others(gateway: Gateway) -> None:
    doomed = await gateway.new_key()
    async with connected(gateway, doomed.secret) as client, connected(gateway) as other:
        for name in ("a", "b"):
            await client.subscribe(name)
        await gateway.tap.stream(1)
        await other.subscribe("a")
        await gateway.tap.stream(2)
        await gateway.keys.revoke(doomed.row.prefix)
        errors = {await received_error(client) for _ in range(2)}
        assert errors == {(name, "UNAUTHENTICATED", "the API key has expired or was revoked") for name in ("a", "b")}
        assert await client.closed() == (4403, "Forbidden")
        (await gateway.tap.stream(2)).give(event(1))
        assert (await other.received())["payload"] == {"data": {"number": 1}}


async def test_a_client_that_takes_nothing_is_closed_with_its_key(gateway: Gateway) -> None:
    doomed = await gateway.new_key()
    async with connected(gateway, doomed.secret) as client:
        client.transport.pause_reading()
        await _stalled(gateway, client)
        await gateway.keys.revoke(doomed.row.prefix)
        for stream in gateway.tap.streams:
            await asyncio.wait_for(stream.closed.wait(), 20)
        await until(lambda: gateway.connections == 0)
        client.transport.resume_reading()


async def test_sockets_are_closed_with_a_code_to_come_back_when_the_process_stops(gateway: Gateway) -> None:
    async with connected(gateway) as client, opened(gateway) as waiting:
        await client.subscribe("a")
        await gateway.tap.stream()
        stopping = asyncio.create_task(gateway.runner.cleanup())
        assert await client.closed() == (1012, "Service restart")
        assert await waiting.closed() == (1012, "Service restart")
        await asyncio.wait_for(stopping, 20)


async def test_streams_end_at_moments_of_chance_over_the_time_to_stop(serve: Serve) -> None:
    gateway = await serve(shutdown_seconds=4)
    count, moments = 60, []

    async def one() -> None:
        async with connected(gateway) as client:
            await client.subscribe("a")
            assert await client.closed() == (1012, "Service restart")
            moments.append(asyncio.get_running_loop().time())

    ends = [asyncio.create_task(one()) for _ in range(count)]
    await gateway.tap.stream(count - 1)
    began = asyncio.get_running_loop().time()
    await gateway.runner.cleanup()
    await asyncio.gather(*ends)
    assert len(moments) == count
    assert max(moments) - min(moments) > 0.2
    assert asyncio.get_running_loop().time() - began < 4 + 10


async def test_events_are_counted_and_timed_when_they_are_live(gateway: Gateway) -> None:
    async with connected(gateway) as client:
        await client.subscribe("a")
        stream = await gateway.tap.stream()
        now = gateway.services.clock()
        for one in (event(1), event(2, now - timedelta(seconds=0.2)), event(3, now - timedelta(seconds=3))):
            stream.give(one)
        for _ in range(3):
            await client.received()
    assert gateway.metric("billing_stream_events_total", transport="websocket") == 3
    assert gateway.metric("billing_event_delay_seconds_count") == 2
    assert gateway.metric("billing_event_delay_seconds_bucket", le="0.1") == 0
    assert gateway.metric("billing_event_delay_seconds_bucket", le="10.0") == 2


async def test_a_socket_is_no_request_that_is_being_answered(gateway: Gateway) -> None:
    async with connected(gateway):
        assert gateway.metric("billing_http_requests_running") == 0
        assert gateway.metric("billing_http_requests_total", route="/graphql", method="GET", status="101", code="") == 1
