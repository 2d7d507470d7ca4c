"""What an abandoned request held is given back."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest
from aiohttp import web

from tests.gateway.served import post
from tests.gateway.streams.conftest import Serve, serve
from tests.gateway.streams.tap import until

__all__ = ["serve"]

pytestmark = pytest.mark.one_database


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing is collected, and nothing that is there by now is counted: after hours of tests it is millions."""
    gc.collect()
    gc.disable()
    gc.freeze()
    yield
    gc.unfreeze()
    gc.enable()


def _requests() -> int:
    return sum(type(one) is web.Request for one in gc.get_objects())


@pytest.mark.parametrize("headers", [(), ("Content-Encoding: gzip",)], ids=["aborted", "not gzip"])
@pytest.mark.usefixtures("uncollected")
async def test_an_abandoned_body_is_no_garbage_that_waits_for_its_collection(
    serve: Serve, headers: tuple[str, ...]
) -> None:
    gateway = await serve()
    before = _requests()
    for _ in range(5):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        authorization = f"Authorization: Bearer {gateway.key}"
        writer.write(post("/graphql", b"x" * 100_000, authorization, *headers, length=200_000))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.transport.abort()
    await until(lambda: gateway.connections == 0)
    for _ in range(40):
        await asyncio.sleep(0.05)
        if _requests() == before:
            break
    assert _requests() == before
