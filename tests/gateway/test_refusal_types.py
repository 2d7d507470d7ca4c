"""Each refusal of a GraphQL request has the media type that the client accepts, so that its client library finds the
code."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import pytest
from aiohttp import ClientResponse

from console.build import find_node, install
from tests.gateway.streams.conftest import Gateway, Serve, serve
from tests.gateway.test_apollo_client import EXAMPLES

__all__ = ["serve"]

PLAIN, NEWER = "application/json", "application/graphql-response+json"
APOLLO: Final = f"{NEWER},{PLAIN};q=0.9"
"""As Apollo Client asks for it."""
QUERY: Final = {"query": "{ viewer { scope } }"}

REFUSALS: Final[dict[str, tuple[int, str, dict[str, Any], dict[str, str]]]] = {
    "no JSON": (400, "BAD_USER_INPUT", {"data": b"{", "headers": {"Content-Type": PLAIN}}, {}),
    "a batch": (400, "BAD_USER_INPUT", {"json": [QUERY]}, {}),
    "unknown key": (401, "UNAUTHENTICATED", {"json": QUERY}, {"Authorization": "Bearer eco_aaaaaaaa_" + "A" * 32}),
    "no Bearer": (401, "UNAUTHENTICATED", {"json": QUERY}, {"Authorization": "Basic eco_"}),
    "method": (405, "METHOD_NOT_ALLOWED", {"params": {"query": "mutation { __typename }"}}, {}),
    "size": (413, "PAYLOAD_TOO_LARGE", {"json": {"query": "{" + " " * 2_000 + "}"}}, {}),
    "type": (415, "UNSUPPORTED_MEDIA_TYPE", {"data": b"{}", "headers": {"Content-Type": "text/plain"}}, {}),
    "coding": (415, "UNSUPPORTED_MEDIA_TYPE", {"json": QUERY}, {"Content-Encoding": "compress"}),
    "expectation": (400, "BAD_USER_INPUT", {"json": QUERY}, {"Expect": "wonders"}),
}


@pytest.fixture
async def gateway(serve: Serve) -> Gateway:
    return await serve(max_body_bytes=1_024, points_per_second=100, slots_per_key=1, queue_per_key=0)


async def send(gateway: Gateway, accept: str, given: dict[str, Any], headers: dict[str, str]) -> ClientResponse:
    method = "GET" if "params" in given else "POST"
    all_headers = {"Authorization": f"Bearer {gateway.key}", "Accept": accept, **given.get("headers", {}), **headers}
    async with gateway.session.request(method, gateway.url, **given | {"headers": all_headers}) as response:
        await response.read()
    return response


async def check(response: ClientResponse, answered: str, status: int, code: str) -> None:
    assert response.headers["Content-Type"] == f"{answered}; charset=utf-8"
    errors = (await response.json(content_type=None))["errors"]
    assert (response.status, [error["extensions"]["code"] for error in errors]) == (status, [code])


@pytest.mark.parametrize(("accept", "answered"), [(APOLLO, NEWER), (NEWER, NEWER), (PLAIN, PLAIN), ("*/*", PLAIN)])
@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_a_refusal_has_the_type_that_is_accepted(gateway: Gateway, name: str, accept: str, answered: str) -> None:
    status, code, given, headers = REFUSALS[name]
    await check(await send(gateway, accept, given, headers), answered, status, code)


@pytest.mark.parametrize(("accept", "answered"), [(APOLLO, NEWER), (PLAIN, PLAIN)])
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_a_key_that_has_spent_its_points_is_told_in_this_type(
    gateway: Gateway, accept: str, answered: str
) -> None:
    response = await send(gateway, accept, {"json": QUERY}, {})
    for _ in range(100):
        if response.status == 429:
            break
        response = await send(gateway, accept, {"json": QUERY}, {})
    await check(response, answered, 429, "RATE_LIMITED")
    assert int(response.headers["Retry-After"]) >= 1


@asynccontextmanager
async def busy(gateway: Gateway) -> AsyncIterator[None]:
    """Takes the only slot of the key."""
    principal = await gateway.services.authenticator.principal(gateway.key)
    async with gateway.services.admission.slot(principal, 1):
        yield


@pytest.mark.parametrize(("accept", "answered"), [(APOLLO, NEWER), (PLAIN, PLAIN)])
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_a_full_queue_is_told_in_this_type(gateway: Gateway, accept: str, answered: str) -> None:
    async with busy(gateway):
        response = await send(gateway, accept, {"json": QUERY}, {})
    await check(response, answered, 503, "UNAVAILABLE")
    assert response.headers["Retry-After"] == "1"


async def first_line_of_apollo(gateway: Gateway, key: str) -> str:
    """What the example says first: the balance, or the code of a refusal."""
    process = await asyncio.create_subprocess_exec(
        *(str(find_node().node), "balance-apollo.mjs"),
        cwd=EXAMPLES,
        env=os.environ | {"URL": gateway.url.removesuffix("/graphql"), "KEY": key},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 60)
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
    return line.decode().strip()


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_apollo_client_shows_the_code(gateway: Gateway) -> None:
    await asyncio.to_thread(install, EXAMPLES)
    assert await first_line_of_apollo(gateway, gateway.key) == "0.00"
    assert await first_line_of_apollo(gateway, "eco_aaaaaaaa_" + "A" * 32) == "UNAUTHENTICATED"
    async with busy(gateway):
        assert await first_line_of_apollo(gateway, gateway.key) == "UNAVAILABLE"
