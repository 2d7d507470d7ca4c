"""Handling of requests that are traced. Imported only if `BILLING_TRACING` is set."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.requests import ON_ANSWERED, Handler, route_of
from gateway.tracing import Tracing, end_request

UNTRACED: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths that machines ask for every few seconds."""


def traced_requests(tracing: Tracing) -> Middleware:
    @web.middleware
    async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in UNTRACED:
            return await handler(request)
        with tracing.request(request, route_of(request)) as span:
            on_answered: Callable[[int], object] = partial(end_request, span)
            request[ON_ANSWERED] = on_answered
            return await handler(request)

    return traced
