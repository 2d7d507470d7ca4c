from __future__ import annotations

import gzip
from pathlib import Path
from typing import Final

import pytest
from aiohttp import ClientSession

from tests.gateway.streams.conftest import Gateway, Serve, serve

__all__ = ["serve"]

SDL: Final = Path(__file__).parents[2] / "graphql" / "schema.graphql"

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


def address(gateway: Gateway) -> str:
    return f"{gateway.url}/schema.graphql"


async def test_the_schema_is_served_as_text(serve: Serve) -> None:
    gateway = await serve()
    headers = {"Authorization": f"Bearer {gateway.key}"}
    async with gateway.session.get(address(gateway), headers=headers) as response:
        text = await response.text()
    assert (response.status, text) == (200, SDL.read_text())
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["Cache-Control"] == "private, no-cache"
    tag = response.headers["ETag"]
    async with gateway.session.get(address(gateway), headers=headers | {"If-None-Match": tag}) as again:
        assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", tag)
    async with gateway.session.head(address(gateway), headers=headers) as head:
        assert (head.status, head.headers["ETag"]) == (200, tag)


async def test_the_schema_is_compressed(serve: Serve) -> None:
    gateway = await serve()
    headers = {"Authorization": f"Bearer {gateway.key}", "Accept-Encoding": "gzip"}
    async with ClientSession(auto_decompress=False) as session, session.get(address(gateway), headers=headers) as got:
        body = await got.read()
    assert gzip.decompress(body) == SDL.read_bytes()
    assert len(body) < len(SDL.read_bytes()) / 3


async def test_the_schema_needs_a_key_and_points(serve: Serve) -> None:
    gateway = await serve(points_per_second=100)
    async with gateway.session.get(address(gateway)) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (401, "UNAUTHENTICATED")
    headers = {"Authorization": f"Bearer {gateway.key}"}
    statuses = set()
    for _ in range(200):
        async with gateway.session.get(address(gateway), headers=headers) as response:
            statuses.add(response.status)
        if response.status != 200:
            break
    assert statuses == {200, 429}


@pytest.mark.parametrize("settings", [{"introspection": False}, {"profile": "production"}])
async def test_without_introspection_there_is_no_schema(serve: Serve, settings: dict[str, object]) -> None:
    gateway = await serve(**settings)
    headers = {"Authorization": f"Bearer {gateway.key}"}
    async with gateway.session.get(address(gateway), headers=headers) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (404, "NOT_FOUND")
