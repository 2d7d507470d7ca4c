"""Pace: none are faster than the setting says, and an answer that waits takes nothing but its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final

import pytest
from aiohttp import ClientResponse, ClientSession

from gateway import pace
from gateway.pace import MAX_SECONDS, Pace
from gateway.protocol import Connection
from tests.gateway.streams.conftest import Gateway, Serve, serve
from tests.gateway.streams.socket_client import connected

__all__ = ["serve"]

pytestmark = pytest.mark.one_database

COSTLY: Final = (
    "{ account { " + " ".join(f"a{n}: transactions(first: 1000) {{ nodes {{ id }} }}" for n in range(15)) + "} }"
)
ADDRESS: Final = ip_address("127.0.0.1")


def test_refusals_beyond_the_rate_wait_for_their_distance() -> None:
    now = 1_000.0
    paced = Pace(8, lambda: now)
    assert [paced.wait_seconds("a") for _ in range(8)] == [0.0] * 8
    assert [paced.wait_seconds("a") for _ in range(3)] == [0.125, 0.25, 0.375]
    assert paced.wait_seconds("b") == 0.0
    now += 0.375
    assert paced.wait_seconds("a") == 0.125
    assert paced.wait_seconds("a", size_bytes=4 * 65_536) == 0.75
    assert max(paced.wait_seconds("a") for _ in range(100)) == MAX_SECONDS
    now += MAX_SECONDS + 1
    assert [paced.wait_seconds("a") for _ in range(9)] == [*[0.0] * 8, 0.125]


def test_clients_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "MAX_CLIENTS", 2)
    paced = Pace(1, lambda: 1_000.0)
    waits = [paced.wait_seconds(client) for client in ("a", "a", "b", "c", "a", "c")]
    assert waits == [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]


async def ask(
    gateway: Gateway, query: str, key: str | None = None, session: ClientSession | None = None
) -> ClientResponse:
    headers = {"Authorization": f"Bearer {key or gateway.key}"}
    async with (session or gateway.session).post(gateway.url, json={"query": query}, headers=headers) as response:
        await response.read()
    return response


async def test_refused_requests_are_counted_by_key_or_address(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[Any] = []

    def count(_paced: Pace, client: object, size_bytes: int = 0) -> float:
        counted.append((client, size_bytes > 0))
        return 0.0

    gateway = await serve(max_cost=1_000)
    monkeypatch.setattr(Pace, "wait_seconds", count)
    prefix = (await gateway.services.authenticator.principal(gateway.key)).key_prefix
    statuses = [
        (await ask(gateway, query, key)).status
        for query, key in (
            ("{ viewer { scope } }", None),
            ('{ viewer { scope } transaction(id: "txn_1_99") { id } }', None),
            ("{ viewer { scope } }", "eco_wrong"),
            (COSTLY, None),
            ("{ nothing }", None),
            ("query ($day: Date!) { viewer { scope } }", None),
        )
    ]
    origin = gateway.url.removesuffix("/graphql")
    for path in ("/nothing", "/billing/transactions?limit=0"):
        async with gateway.session.get(origin + path, headers={"Authorization": f"Bearer {gateway.key}"}) as response:
            statuses.append(response.status)
    assert statuses == [200, 200, 401, 400, 200, 200, 404, 400]
    by_key = (prefix, True)
    assert counted == [(ADDRESS, False), by_key, by_key, by_key, (ADDRESS, False), (prefix, False)]


def holding(gateway: Gateway) -> list[Connection]:
    """The connections on which refusals wait."""
    assert gateway.runner.server is not None
    return [one for one in gateway.runner.server.connections if isinstance(one, Connection) and one._held is not None]


async def until(look: Callable[[], bool]) -> None:
    for _ in range(3_000):
        if look():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never came")


async def test_a_refusal_that_waits_takes_only_its_connection(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = await serve()
    monkeypatch.setattr(Pace, "wait_seconds", lambda *_: 3_600.0)
    labels = {"route": "/graphql", "method": "POST", "status": "401", "code": "UNAUTHENTICATED"}
    async with ClientSession() as session:
        refused = asyncio.create_task(ask(gateway, "{ viewer { scope } }", "eco_wrong", session))
        await until(lambda: bool(holding(gateway)))
        (connection,) = holding(gateway)
        assert connection.is_waiting  # it makes room for others
        assert gateway.metric("billing_http_requests_total", **labels) == 1
        assert gateway.metric("billing_http_requests_running") == 0
        assert (await ask(gateway, "{ viewer { scope } }")).status == 200
        refused.cancel()  # which closes the connection
        await until(lambda: connection._held is None)


async def test_messages_of_a_key_are_counted_over_its_sockets_and_wait(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[object] = []

    def third_waits(_paced: Pace, client: object, _size_bytes: int = 0) -> float:
        counted.append(client)
        return 3_600.0 if len(counted) == 3 else 0.0

    gateway = await serve()
    prefix = (await gateway.services.authenticator.principal(gateway.key)).key_prefix
    monkeypatch.setattr(Pace, "wait_seconds", third_waits)
    async with connected(gateway) as first, connected(gateway) as second:
        for _ in range(2):
            await first.send({"type": "ping"})
        assert await first.received() == {"type": "pong"}
        await second.send({"type": "ping"})
        assert await second.received() == {"type": "pong"}
        assert counted == [prefix] * 4  # the second ping of the first socket was not read


async def test_a_process_that_stops_answers_refusals_that_wait(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = await serve(shutdown_seconds=60)
    monkeypatch.setattr(Pace, "wait_seconds", lambda *_: 3_600.0)
    refused = asyncio.create_task(ask(gateway, "{ viewer { scope } }", "eco_wrong"))
    await until(lambda: bool(holding(gateway)))
    async with asyncio.timeout(30):
        await gateway.runner.cleanup()
        assert (await refused).status == 401
