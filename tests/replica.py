"""A real hot standby that answers all queries of the tests' gateways."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

import pytest
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

import gateway.app
import gateway.graphql_view
from db.connections import replicas as positions
from db.connections.replicas import Replicas, SeenUntil
from db.database import Database, DatabaseOptions
from gateway.positions import POSITION, position_of
from gateway.requests import edge
from gateway.services import Services
from tests.postgres import Postgres

IS_READ_BY_ALL: Final = "TESTS_FROM_REPLICA" in os.environ
"""Set by `make test-replica`."""

not_from_replica: Final = pytest.mark.skipif(
    IS_READ_BY_ALL, reason="a replica has connections and statements of its own"
)

PATIENCE_SECONDS: Final = 5.0

reads = {"primary": 0, "replica": 0}
"""Number of requests that could be answered by each."""


_SEEN: Final = web.RequestKey("seen", SeenUntil)


async def _newest(replicas: Replicas) -> SeenUntil | None:
    """Returns the position of a client that has seen everything, once the replica has it too; None if that takes too
    long."""
    seen = await replicas.position()
    for _ in range(int(PATIENCE_SECONDS / positions.LOOK_SECONDS)):
        if seen is not None and replicas.readers_for(seen) is not None:
            return seen
        await asyncio.sleep(positions.LOOK_SECONDS)
        seen = seen or await replicas.position()
    return None


def _edge_of_readers(services: Services) -> Middleware:
    """Each client has seen all that is committed, so the standby answers as soon as it has that."""
    inner, replicas = edge(services), services.database.replicas

    @web.middleware
    async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
        if replicas is None or POSITION in request.headers or hdrs.UPGRADE in request.headers:
            return await inner(request, handler)
        position = await _newest(replicas)
        reads["primary" if position is None else "replica"] += 1
        if position is not None:
            request[_SEEN] = position
        return await inner(request, handler)

    return answered


def _position_of(request: web.BaseRequest) -> SeenUntil | None:
    return request.get(_SEEN) or position_of(request)


def _reading(opened: Callable[..., None], server_query: str, url_of: Callable[[str], str]) -> Callable[..., None]:
    def open_with_replica(self: Database, options: DatabaseOptions) -> None:
        parts = urlsplit(options.url)
        is_ours = parts.query == server_query and not options.read_urls and options.direct_url is None
        opened(self, replace(options, read_urls=(url_of(parts.path[1:]),)) if is_ours else options)

    return open_with_replica


@contextmanager
def of_all(server: Postgres) -> Iterator[None]:
    """With `make test-replica`: gives all databases of this process on the server a replica, and reads from it."""
    if not IS_READ_BY_ALL:
        yield
        return
    query = urlsplit(server.url("postgres")).query
    with server.standby() as standby, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "__init__", _reading(Database.__init__, query, standby.url))
        patch.setattr(gateway.app, "edge", _edge_of_readers)
        patch.setattr(gateway.graphql_view, "position_of", _position_of)
        patch.setattr(positions, "LOOK_SECONDS", 0.02)
        patch.setattr(positions, "RETRY_SECONDS", 0.05)
        yield
    assert reads["replica"] >= 9 * reads["primary"], reads
