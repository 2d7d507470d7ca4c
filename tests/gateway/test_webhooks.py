"""Stripe's webhook over HTTP: what it lets in, and what it answers."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from db import stripe_events
from gateway.app import build_app
from gateway.services import Services, build_services
from gateway.settings import Settings
from ledger.accounts import Accounts
from tests.ledger.recompute import differences, read_tables
from tests.stripe_objects import SECRET, Object, body, event, session, signature

OLD_SECRET = "whsec_before_rotation"

MAX_BYTES = 262_144


@dataclass
class Endpoint:
    client: TestClient[web.Request, web.Application]
    services: Services

    async def send(self, text: Any, header: str | None, **more: Any) -> tuple[int, Any]:
        headers = more.pop("headers", {}) | ({} if header is None else {"Stripe-Signature": header})
        async with self.client.post("/webhooks/stripe", data=text, headers=headers, **more) as response:
            return response.status, await response.json()

    async def tell(self, told: Object, secret: str = SECRET) -> tuple[int, Any]:
        text = body(told)
        return await self.send(text, signature(text, secret))

    async def amounts(self) -> list[tuple[str, int]]:
        return [(row.type, row.amount_nanos) for row in (await read_tables(self.services.database)).transactions]

    async def events(self) -> list[tuple[str, str]]:
        return [(row.id, row.state) for row in await stripe_events.newest(self.services.database, None, 100)]


def build(database_url: str, **settings: Any) -> Services:
    given = {"database_url": database_url, "stripe_webhook_secrets": f"{SECRET}, {OLD_SECRET}"}
    return build_services(Settings(**(given | settings)))


@pytest.fixture
async def endpoint(database_url: str) -> AsyncIterator[Endpoint]:
    services = build(database_url)
    account = await Accounts(services.database).create("One")
    await services.stripe_events.link(account.id, "cus_1")
    async with TestClient(TestServer(build_app(services))) as client:
        yield Endpoint(client, services)


def paid(event_id: str = "evt_1", session_id: str = "cs_1") -> Object:
    return event("checkout.session.completed", session(session_id, customer="cus_1"), event_id)


async def test_an_event_is_applied_and_acknowledged(endpoint: Endpoint) -> None:
    assert await endpoint.tell(paid()) == (200, {"received": True})
    assert await endpoint.tell(paid()) == (200, {"received": True})
    assert await endpoint.amounts() == [("topup", 20_000_000_000)]
    assert await endpoint.events() == [("evt_1", "applied")]


async def test_either_secret_will_do_while_one_is_rotated(endpoint: Endpoint) -> None:
    assert (await endpoint.tell(paid("evt_1", "cs_1"), OLD_SECRET))[0] == 200
    assert (await endpoint.tell(paid("evt_2", "cs_2"), SECRET))[0] == 200
    # Stripe signs with both for a day.
    text = body(paid("evt_3", "cs_3"))
    both = f"{signature(text, 'whsec_unknown')},{signature(text).split(',')[1]}"
    assert (await endpoint.send(text, both))[0] == 200
    assert len(await endpoint.amounts()) == 3


def _code(answer: tuple[int, Any]) -> tuple[int, str, str]:
    status, told = answer
    return status, told["error"]["code"], told["error"]["message"]


async def test_unsigned_events_are_refused(endpoint: Endpoint) -> None:
    text = body(paid())
    header = signature(text)
    timestamp, made = header.split(",")
    wrong = [
        header.replace("v1=", "v0="),
        signature(text, "whsec_of_somebody_else"),
        f"t={int(time.time()) + 1},{made}",
        f"{timestamp},v1={'0' * 64}",
        "t=now,v1=nothing",
        "nonsense",
    ]
    for one in wrong:
        refused = _code(await endpoint.send(text, one))
        assert refused[:2] == (401, "UNAUTHENTICATED"), one
        assert "with any of the webhook's secrets" in refused[2]
    assert _code(await endpoint.send(text + " ", header))[:2] == (401, "UNAUTHENTICATED")
    assert _code(await endpoint.send(text, None))[:2] == (401, "UNAUTHENTICATED")
    assert _code(await endpoint.send(b"\xff\xfe", header))[:2] == (401, "UNAUTHENTICATED")
    assert await endpoint.events() == []


async def test_a_signature_that_is_not_ascii_is_refused(endpoint: Endpoint) -> None:
    for one in ("ü", "t=1,v1=é", f"{signature(body(paid()))},v1=é"):
        refused = _code(await endpoint.send(body(paid()), one))
        assert refused == (400, "BAD_USER_INPUT", "the Stripe-Signature header must be ASCII")
    assert await endpoint.events() == []


async def test_an_old_signature_is_refused_however_right_it_is(endpoint: Endpoint) -> None:
    text = body(paid())
    now = int(time.time())
    refused = _code(await endpoint.send(text, signature(text, timestamp=now - 400)))
    assert refused == (401, "UNAUTHENTICATED", "the signature is older than 300 seconds")
    assert (await endpoint.send(text, signature(text, timestamp=now - 200)))[0] == 200


async def test_a_body_that_is_too_large_is_refused_unread(endpoint: Endpoint) -> None:
    text = b"x" * 10_485_760
    assert _code(await endpoint.send(io.BytesIO(text), "t=1,v1=x"))[:2] == (413, "PAYLOAD_TOO_LARGE")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(160):
            yield b"x" * 65_536

    assert _code(await endpoint.send(chunks(), "t=1,v1=x"))[:2] == (413, "PAYLOAD_TOO_LARGE")
    fits = body(paid())
    padded = fits + " " * (MAX_BYTES - len(fits))
    assert (await endpoint.send(padded, signature(padded)))[0] == 200
    longer = io.BytesIO(f"{padded} ".encode())
    assert _code(await endpoint.send(longer, signature(padded + " ")))[0] == 413


async def test_a_larger_limit_for_bodies_is_none_for_events(database_url: str) -> None:
    services = build(database_url, max_body_bytes=64 * 1_048_576)
    async with TestClient(TestServer(build_app(services))) as client:
        text = "x" * 10_485_760
        headers = {"Stripe-Signature": signature(text)}
        async with client.post("/webhooks/stripe", data=io.BytesIO(text.encode()), headers=headers) as answer:
            assert answer.status == 413


async def test_a_signed_body_that_is_no_event_is_refused(endpoint: Endpoint) -> None:
    for text in ("", "{}", "[1]", '{"object": "event"}'):
        assert _code(await endpoint.send(text, signature(text)))[:2] == (400, "BAD_USER_INPUT")
    assert await endpoint.events() == []


async def test_other_methods_are_refused(endpoint: Endpoint) -> None:
    async with endpoint.client.get("/webhooks/stripe") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_an_unknown_customer_s_event_is_acknowledged_and_kept(endpoint: Endpoint) -> None:
    told = event("checkout.session.completed", session("cs_9", customer="cus_9"), "evt_9")
    assert (await endpoint.tell(told))[0] == 200
    assert await endpoint.events() == [("evt_9", "waiting")]
    assert await endpoint.amounts() == []


async def test_without_a_secret_stripe_is_told_to_send_again(database_url: str) -> None:
    async with TestClient(TestServer(build_app(build(database_url, stripe_webhook_secrets=None)))) as client:
        text = body(paid())
        async with client.post("/webhooks/stripe", data=text, headers={"Stripe-Signature": signature(text)}) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (503, "UNAVAILABLE")


async def test_the_same_events_at_once(endpoint: Endpoint) -> None:
    told = [paid(f"evt_{number}", f"cs_{number % 5}") for number in range(10)] * 3
    answers = await asyncio.gather(*(endpoint.tell(one) for one in told))
    assert [status for status, _ in answers] == [200] * 30
    assert len(await endpoint.amounts()) == 5
    assert await differences(endpoint.services.database) == []
