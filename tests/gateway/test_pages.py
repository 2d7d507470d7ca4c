"""The handlers of the built pages, over folders made here: no build is needed."""

from __future__ import annotations

import asyncio
import gzip
import http.client
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from gateway.pages import ABSENT_POLICY, CONSOLE_POLICY, GRAPHIQL_POLICY, add_page_routes, render_graphiql

SCRIPT = b"console.log(1)"
IMMUTABLE = "public, max-age=31536000, immutable"

Serve = Callable[[Path], Awaitable[TestServer]]


async def page(request: web.Request) -> web.StreamResponse:
    return render_graphiql(request)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers: list[TestServer] = []

    async def start(static: Path) -> TestServer:
        app = web.Application()
        app.router.add_get("/graphql", page)
        add_page_routes(app, static)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.close()


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    async with ClientSession(auto_decompress=False) as session:
        yield session


@pytest.fixture
def static(tmp_path: Path) -> Path:
    folder = tmp_path / "static" / "graphiql"
    folder.mkdir(parents=True)
    (folder / "index.html").write_bytes(b"<!doctype html><title>built</title>")
    (folder / "main-AB12CD34.js").write_bytes(SCRIPT)
    (folder / "main-AB12CD34.js.gz").write_bytes(gzip.compress(SCRIPT))
    (folder / "main-AB12CD34.js.br").write_bytes(b"stands for brotli")
    (folder / "page-AB12CD34.css").write_bytes(b"body{}")
    (folder / "icon.svg").write_bytes(b"<svg/>")
    (folder / "notes.txt").write_bytes(b"not of a type that pages load")
    console = tmp_path / "static" / "billing"
    console.mkdir()
    (console / "index.html").write_bytes(b"<!doctype html><title>Billing</title>")
    (console / "guide.html").write_bytes(b"<!doctype html><title>Guide</title>")
    (console / "index-ab12cd34.js").write_bytes(SCRIPT)
    (tmp_path / "static" / "graphiql.built").write_bytes(b"a stamp")
    (tmp_path / "secret.js").write_bytes(b"outside")
    return tmp_path / "static"


async def test_page(serve: Serve, client: ClientSession, static: Path) -> None:
    server = await serve(static)
    async with client.get(server.make_url("/graphql")) as response:
        assert response.status == 200
        assert await response.read() == b"<!doctype html><title>built</title>"
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert response.headers["Content-Security-Policy"] == GRAPHIQL_POLICY
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["Vary"] == "Accept, Accept-Encoding"
    async with client.head(server.make_url("/graphql")) as response:
        assert (response.status, await response.read()) == (200, b"")


def test_policy_is_strict() -> None:
    assert "unsafe-eval" not in GRAPHIQL_POLICY
    assert "blob:" not in GRAPHIQL_POLICY
    assert "http" not in GRAPHIQL_POLICY
    assert [part for part in GRAPHIQL_POLICY.split("; ") if "unsafe" in part] == ["style-src 'self' 'unsafe-inline'"]


def test_the_console_s_policy_allows_nothing_unsafe_and_no_other_host() -> None:
    assert "unsafe" not in CONSOLE_POLICY
    assert "http" not in CONSOLE_POLICY
    assert {part.split(" ", 1)[1] for part in CONSOLE_POLICY.split("; ")} == {"'none'", "'self'"}


@pytest.mark.parametrize(("path", "title"), [("/console/", b"Billing"), ("/console/how-billing-works", b"Guide")])
async def test_pages_of_the_console(serve: Serve, client: ClientSession, static: Path, path: str, title: bytes) -> None:
    server = await serve(static)
    async with client.get(server.make_url(path)) as response:
        assert response.status == 200
        assert await response.read() == b"<!doctype html><title>" + title + b"</title>"
        assert response.headers["Content-Security-Policy"] == CONSOLE_POLICY
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cache-Control"] == "no-cache"
    async with client.get(server.make_url("/static/billing/index-ab12cd34.js")) as response:
        assert response.headers["Cache-Control"] == IMMUTABLE
        assert response.headers["Content-Security-Policy"] == CONSOLE_POLICY


async def test_a_page_is_sent_compressed(serve: Serve, client: ClientSession, static: Path) -> None:
    (static / "billing" / "index.html.br").write_bytes(b"stands for brotli")
    server = await serve(static)
    async with client.get(server.make_url("/console/"), headers={"Accept-Encoding": "gzip, br"}) as response:
        assert response.headers["Content-Encoding"] == "br"
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert await response.read() == b"stands for brotli"


async def test_page_that_is_not_built(serve: Serve, client: ClientSession, tmp_path: Path) -> None:
    server = await serve(tmp_path)
    async with client.get(server.make_url("/graphql")) as response:
        assert response.status == 503
        assert "<code>make pages</code>" in await response.text()
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert response.headers["Content-Security-Policy"] == ABSENT_POLICY
    for path in ("/console/", "/console/how-billing-works"):
        async with client.get(server.make_url(path)) as response:
            assert response.status == 503
            assert "<code>make pages</code>" in await response.text()
    async with client.get(server.make_url("/static/graphiql/main-AB12CD34.js")) as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("name", "content_type", "cache"),
    [
        ("main-AB12CD34.js", "text/javascript; charset=utf-8", IMMUTABLE),
        ("page-AB12CD34.css", "text/css; charset=utf-8", IMMUTABLE),
        ("icon.svg", "image/svg+xml", "no-cache"),
    ],
)
async def test_file_headers(
    serve: Serve, client: ClientSession, static: Path, name: str, content_type: str, cache: str
) -> None:
    server = await serve(static)
    async with client.get(server.make_url(f"/static/graphiql/{name}")) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == content_type
        assert response.headers["Cache-Control"] == cache
        assert response.headers["Vary"] == "Accept-Encoding"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Security-Policy"] == GRAPHIQL_POLICY


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("GZIP", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("br; q=0.0, gzip; q=0", None),
        ("identity", None),
        ("", None),
    ],
)
async def test_encoding(serve: Serve, client: ClientSession, static: Path, accepted: str, coding: str | None) -> None:
    server = await serve(static)
    url = server.make_url("/static/graphiql/main-AB12CD34.js")
    compressed = static / "graphiql" / "main-AB12CD34.js.gz"
    bodies = {"br": b"stands for brotli", "gzip": compressed.read_bytes(), None: SCRIPT}
    async with client.get(url, headers={"Accept-Encoding": accepted}) as response:
        assert response.headers.get("Content-Encoding") == coding
        assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert await response.read() == bodies[coding]


async def test_file_without_compressed_siblings(serve: Serve, client: ClientSession, static: Path) -> None:
    server = await serve(static)
    url = server.make_url("/static/graphiql/icon.svg")
    async with client.get(url, headers={"Accept-Encoding": "br, gzip"}) as response:
        assert "Content-Encoding" not in response.headers
        assert await response.read() == b"<svg/>"


@pytest.mark.parametrize(
    "name",
    [
        "../graphiql.built",
        "..%2fgraphiql.built",
        "../../secret.js",
        "..%2f..%2fsecret.js",
        "%2e%2e/%2e%2e/secret.js",
        "..%5c..%5csecret.js",
        "%2fetc%2fpasswd",
        ".",
        "..",
        "%00",
        "main-AB12CD34.js%00.css",
        "main-AB12CD34.js/",
        "main-AB12CD34.js.gz",
        "index.html",
        "index.html.br",
        "notes.txt",
        "missing-AB12CD34.js",
    ],
)
async def test_nothing_else_is_served(serve: Serve, static: Path, name: str) -> None:
    server = await serve(static)

    def status() -> int:
        # http.client sends the path as it stands; other clients tidy it first.
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        try:
            connection.putrequest("GET", f"/static/graphiql/{name}", skip_accept_encoding=True)
            connection.endheaders()
            return connection.getresponse().status
        finally:
            connection.close()

    assert await asyncio.to_thread(status) == 404
