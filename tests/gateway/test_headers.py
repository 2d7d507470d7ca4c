"""Headers that all answers have, that no request may have, and what they say of compression."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web

from db.csv_lines import Lines
from gateway.app import build_app
from gateway.client_address import client_address
from gateway.commands.options import settings_of
from gateway.networks import parse_address, parse_networks
from gateway.protocol import Runner
from gateway.rest.columns import Column
from gateway.rest.exports import Steps, stream_csv
from gateway.services import build_services
from tests.gateway.streams.conftest import Serve, serve

__all__ = ["serve"]

pytestmark = pytest.mark.one_database

ROWS = 400
LINE = "txn_1_1,2026-01-01T00:00:00.000000Z,usage\r\n" * 500


async def _line() -> Lines:
    return Lines(LINE.encode(), 500, 1)


async def _steps() -> Steps:
    for _ in range(ROWS):
        yield asyncio.create_task(_line())


async def _csv(request: web.Request) -> web.StreamResponse:
    return await stream_csv(request, "x.csv", [Column("id", "An id.", {"type": "string"})], _steps())


@pytest.fixture
async def address(database_url: str) -> AsyncIterator[str]:
    services = build_services(settings_of({"database_url": database_url, "compress_min_bytes": 1_000}))
    app = build_app(services)
    app.router.add_get("/x.csv", _csv)
    runner = Runner(app, shutdown_timeout=5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def raw() -> AsyncIterator[ClientSession]:
    """Decompresses nothing."""
    async with ClientSession(auto_decompress=False, skip_auto_headers=["Accept-Encoding"]) as session:
        yield session


@pytest.mark.parametrize(
    "path", ["/healthz", "/graphql", "/nothing", "/openapi.json", "/console", "/x.csv", "/metrics"]
)
async def test_every_answer_forbids_guessing_its_type(address: str, raw: ClientSession, path: str) -> None:
    async with raw.get(address + path, allow_redirects=False) as response:
        assert response.headers.getall("X-Content-Type-Options") == ["nosniff"]


@pytest.mark.parametrize("path", ["/graphql", "/billing/transactions", "/healthz", "/metrics"])
async def test_two_authorization_headers_are_refused(address: str, raw: ClientSession, path: str) -> None:
    headers = [("Authorization", "Bearer eco_a"), ("Authorization", "Bearer eco_b")]
    async with raw.get(address + path, headers=headers) as response:
        text = await response.text()
    assert response.status == 400
    assert '"BAD_USER_INPUT"' in text
    assert "the Authorization header must be given at most once" in text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"X-Forwarded-For": "192.0.2.1"}, 403),
        ({"X-Real-IP": "192.0.2.1"}, 403),
        ({"X-Forwarded-Proto": "https"}, 403),
        ({"Via": "1.1 proxy"}, 403),
        ({"Forwarded": "for=192.0.2.1"}, 403),
    ],
    ids=str,
)
async def test_metrics_without_a_token_are_for_direct_requests(
    address: str, raw: ClientSession, headers: dict[str, str], status: int
) -> None:
    async with raw.get(f"{address}/metrics", headers=headers) as response:
        assert response.status == status


async def test_metrics_are_not_for_http_1_0(address: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
    writer.write(b"GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
    assert b" 403 " in (await reader.read()).split(b"\r\n")[0]
    writer.close()


async def test_a_metrics_token_that_is_no_ascii_is_wrong(serve: Serve) -> None:
    gateway = await serve(metrics_token="right")
    for given, status in (("right", 200), ("wröng", 401), ("", 401)):
        url = gateway.url.replace("/graphql", "/metrics")
        async with gateway.session.get(url, headers={"Authorization": f"Bearer {given}"}) as response:
            assert response.status == status


@pytest.mark.parametrize(
    ("accept", "coding"),
    [("gzip", "gzip"), ("br, GZIP;q=0.5", "gzip"), ("*", "gzip"), ("gzip;q=0", None), ("br", None), (None, None)],
)
async def test_csv_is_compressed_while_it_is_streamed(
    address: str, raw: ClientSession, accept: str | None, coding: str | None
) -> None:
    headers = {} if accept is None else {"Accept-Encoding": accept}
    async with raw.get(f"{address}/x.csv", headers=headers) as response:
        body = await response.read()
    assert response.headers.get("Content-Encoding") == coding
    text = gzip.decompress(body) if coding else body
    assert text.decode() == "id\r\n" + LINE * ROWS
    assert not coding or (len(body) < len(text) / 20 and response.headers["Vary"] == "Accept-Encoding")


async def test_json_is_compressed_above_a_size_and_mutations_are_not(serve: Serve) -> None:
    gateway = await serve(compress_min_bytes=1_000)
    headers = {"Authorization": f"Bearer {gateway.key}", "Accept-Encoding": "gzip"}
    many = " ".join(f"a{number}: __typename" for number in range(15))
    introspection = "{ __schema { types { name description } } }"
    for query, coding in ((introspection, "gzip"), ("{ __typename }", None), (f"mutation {{ {many} }}", None)):
        async with gateway.session.post(gateway.url, json={"query": query}, headers=headers) as response:
            assert json.loads(await response.read()).keys() == {"data"}
            assert response.headers.get("Content-Encoding") == coding


async def test_an_aborted_export_is_no_failure(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    for taken in (0, 100_000):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(b"GET /x.csv HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.read(max(taken, 1))
        await asyncio.sleep(0.3)
        writer.transport.abort()
    await asyncio.sleep(0.5)
    text = "".join(capfd.readouterr())
    assert "Traceback" not in text
    assert "INTERNAL" not in text


TRUSTED = parse_networks("127.0.0.0/8, ::1, 10.0.0.0/8")


@pytest.mark.parametrize(
    ("remote", "forwarded", "address"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "6.6.6.6, 198.51.100.7, 10.1.2.3", "198.51.100.7"),
        ("127.0.0.1", "198.51.100.7, nonsense", "127.0.0.1"),
        ("::1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "", "127.0.0.1"),
    ],
)
def test_the_address_of_a_client(remote: str, forwarded: str | None, address: str) -> None:
    from aiohttp.test_utils import make_mocked_request

    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    request = make_mocked_request("GET", "/", headers=headers).clone(remote=remote)
    assert client_address(request, TRUSTED) == parse_address(address)
