"""Traces as a receiver of OTLP over HTTP gets them."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from access.keys import Keys, KeyScope, NewKey
from gateway.app import build_app
from gateway.commands.options import settings_of
from gateway.services import build_services
from ledger.accounts import Accounts
from tests.replica import not_from_replica
from tests.stripe_stand_in import settings as stripe_settings
from tests.stripe_stand_in import standing_in

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"
PAGE = "query Page($id: ID!) { account(id: $id) { name transactions(first: 3) { edges { node { id } } } } }"
TOP_UP = "mutation TopUp($input: CreateTopUpInput!) { createTopUp(input: $input) { state } }"
SECRET = "very private text"


class Receiver:
    def __init__(self) -> None:
        self.bytes = b""
        self.spans: list[Any] = []

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bytes += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            assert ("service.name", "billing-gateway") in _attributes(resource.resource).items()
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return web.Response(content_type="application/x-protobuf")

    def named(self, name: str) -> Any:
        (found,) = (span for span in self.spans if span.name == name)
        return found

    def below(self, span: Any) -> list[Any]:
        inner = [one for one in self.spans if one.parent_span_id == span.span_id]
        return sorted(inner, key=lambda one: int(one.start_time_unix_nano))


def _attributes(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


@asynccontextmanager
async def _receiving(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    receiver, app = Receiver(), web.Application()
    app.router.add_post("/v1/traces", receiver.take)
    async with TestServer(app) as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", str(server.make_url("")).rstrip("/"))
        yield receiver


@not_from_replica
async def test_a_receiver_gets_requests_operations_statements_and_calls(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _receiving(monkeypatch) as receiver, standing_in() as stand_in:
        given = {"database_url": database_url, "tracing": True} | stripe_settings(stand_in)
        services = build_services(settings_of(given))
        account = await Accounts(services.database).create("One")
        key = (await Keys(services.database).create(NewKey(KeyScope.MANAGE, "tests", account.id))).secret
        headers = {"Authorization": f"Bearer {key}", "traceparent": TRACEPARENT}
        named = {"accountId": f"acct_{account.id}", "idempotencyKey": SECRET}
        urls = {"successUrl": "https://shop.example/a", "cancelUrl": "https://shop.example/b"}
        async with (
            TestServer(build_app(services)) as server,
            ClientSession(server.make_url("/"), headers=headers) as session,
        ):

            async def send(query: str, **variables: Any) -> Any:
                async with session.post("/graphql", json={"query": query, "variables": variables}) as response:
                    return await response.json()

            assert "errors" not in await send(PAGE, id=f"acct_{account.id}")
            assert "errors" not in await send(TOP_UP, input=named | urls | {"amount": "25.00"})
            assert "errors" in await send('query Other { account(id: "acct_999") { name } }')
            assert "errors" in await send("query Wrong { nothing }")
            async with session.get("/billing/transactions", params={"account": "acct_1", "limit": "1"}) as response:
                assert response.status == 200
            await session.get("/healthz")
            events = {"Accept": "text/event-stream"}
            subscribed = 'subscription { balanceChanged(accountId: "acct_1") { balance } }'
            async with session.post("/graphql", json={"query": subscribed}, headers=events) as response:
                assert response.status == 200
                async with session.ws_connect("/graphql", protocols=["graphql-transport-ws"]) as socket:
                    await socket.send_json({"type": "connection_init"})
                    assert (await socket.receive_json())["type"] == "connection_ack"
                    asked = {"query": "query OverSocket { viewer { scope } }"}
                    await socket.send_json({"type": "subscribe", "id": "1", "payload": asked})
                    assert (await socket.receive_json())["type"] == "next"
    requests = receiver.below(type("Caller", (), {"span_id": bytes.fromhex(CALLER)}))
    assert [(span.name, _attributes(span)["http.response.status_code"]) for span in requests] == [
        *[("POST /graphql", 200)] * 4,
        ("GET /billing/transactions", 200),
        ("POST /graphql", 200),
        ("GET /graphql", 101),
    ]
    socket_query = receiver.named("query OverSocket")
    (link,) = socket_query.links
    assert (link.trace_id.hex(), link.span_id) == (TRACE, requests[-1].span_id)
    of_socket = {socket_query.trace_id.hex()}
    assert {span.trace_id.hex() for span in receiver.spans} == {TRACE} | of_socket
    assert _attributes(requests[3])["billing.code"] == "GRAPHQL_VALIDATION_FAILED"
    page = receiver.named("query Page")
    assert page.parent_span_id == requests[0].span_id
    assert _attributes(page) | {"billing.cost": 0} == {
        "graphql.operation.type": "query",
        "graphql.operation.name": "Page",
        "graphql.document.sha256": hashlib.sha256(PAGE.encode()).hexdigest(),
        "billing.cost": 0,
    }
    assert _attributes(page)["billing.cost"] > 0
    statements = [_attributes(span) for span in receiver.below(page) if span.name.startswith("SELECT")]
    assert {one["db.system.name"] for one in statements} == {database_url.partition(":")[0].partition("+")[0]}
    assert {"accounts", "transactions"} <= {
        table for one in statements for table in one["db.collection.name"].split(", ")
    }
    assert _attributes(receiver.named("query Other"))["billing.code"] == "NOT_FOUND"
    call = receiver.below(receiver.named("mutation TopUp"))
    assert {"INSERT top_ups", "POST 127.0.0.1"} <= {span.name for span in call}
    (stripe,) = {_attributes(span)["server.address"] for span in call if "server.address" in _attributes(span)}
    assert stripe == "127.0.0.1"
    assert {(asked.traceparent or "--").split("-")[1] for asked in stand_in.asked} == {TRACE}
    for private in (key, key.split("_", 2)[2], SECRET, "25.00", "acct_999", "shop.example"):
        assert private.encode() not in receiver.bytes


async def test_a_receiver_that_does_not_answer_keeps_nobody(
    sqlite_file_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    services = build_services(settings_of({"database_url": sqlite_file_url, "tracing": True}))
    async with TestServer(build_app(services)) as server, ClientSession(server.make_url("/")) as session:
        answered = await asyncio.wait_for(session.get("/"), 30)
        assert answered.status == 200


def test_without_the_setting_nothing_of_opentelemetry_is_imported() -> None:
    program = (
        "import sys; from gateway.app import build_app; from gateway.services import build_services;"
        "from gateway.settings import Settings;"
        "app = build_app(build_services(Settings(database_url='sqlite:///none.db')));"
        "assert len(app.middlewares) == 1;"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
