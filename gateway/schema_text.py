"""The schema in its own language (SDL), for tools that take a file or an address."""

from __future__ import annotations

from functools import cache
from typing import Final

from aiohttp import web

from gateway.compression import compressible
from gateway.entity_tags import cacheable
from gateway.requests import RATE, authenticate
from gateway.services import SERVICES
from schema.build import sdl
from schema.costs import WEIGHTS

PATH: Final = "/graphql/schema.graphql"
MEDIA_TYPE: Final = "text/plain"


@cache
def _text() -> bytes:
    return sdl().encode()


async def schema_text(request: web.Request) -> web.Response:
    """Needs a key and the setting of introspection, which tells the same. Raises Unauthenticated and RateExceeded."""
    services = request.app[SERVICES]
    if not services.settings.introspection:
        raise web.HTTPNotFound
    principal = await authenticate(request)
    request[RATE] = await services.admission.spend(principal, WEIGHTS.operation)
    return compressible(cacheable(request, MEDIA_TYPE, _text(), 0))
