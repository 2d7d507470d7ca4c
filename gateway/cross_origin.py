"""Answers that pages of other origins may read: the CORS protocol of the Fetch standard.

A page sends its key in a header. `Access-Control-Allow-Credentials` is never sent, so browsers add no cookie.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from aiohttp import hdrs, web

from gateway.origins import Origin, parse_origin
from gateway.positions import POSITION
from gateway.vary import add_vary

_PATHS: Final = frozenset({"/graphql", "/graphql/schema.graphql", "/openapi.json"})
_REST: Final = "/billing/"

_EXPOSED: Final = ", ".join(
    (
        *(hdrs.CONTENT_DISPOSITION, hdrs.ETAG, hdrs.LINK, "RateLimit", "RateLimit-Policy", hdrs.RETRY_AFTER),
        *(hdrs.WWW_AUTHENTICATE, "X-Request-Id", POSITION),
    )
)
_SENT: Final = (
    *(hdrs.AUTHORIZATION, hdrs.CONTENT_TYPE, hdrs.IF_NONE_MATCH, hdrs.LAST_EVENT_ID, "X-Request-Id", POSITION),
    # Apollo's clients, and those that trace requests.
    *("Apollo-Require-Preflight", "ApolloGraphQL-Client-Name", "ApolloGraphQL-Client-Version"),
    *("X-Apollo-Operation-Name", "Traceparent", "Tracestate", "Baggage"),
)
_PREFLIGHT: Final = MappingProxyType(
    {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, HEAD, POST",
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ", ".join(_SENT),
        # Seconds: no browser but Firefox keeps it longer.
        hdrs.ACCESS_CONTROL_MAX_AGE: "7200",
    }
)


def _is_shared(request: web.BaseRequest) -> bool:
    return request.path in _PATHS or request.path.startswith(_REST)


class CrossOrigin:
    def __init__(self, allowed: frozenset[Origin]) -> None:
        self._allowed = allowed

    def share(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Lets the page that sent the request read the answer, if its origin is allowed."""
        if not self._allowed or not _is_shared(request):
            return
        add_vary(response, hdrs.ORIGIN)
        origin = self._allowed_origin(request)
        if origin is not None:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED

    def preflight(self, request: web.Request) -> web.Response | None:
        """Answers a browser that asks whether it may send a request for a page; None for every other request."""
        is_asked = request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        if not is_asked or not _is_shared(request) or self._allowed_origin(request) is None:
            return None
        return web.Response(status=204, headers=_PREFLIGHT)

    def _allowed_origin(self, request: web.BaseRequest) -> str | None:
        given = request.headers.getall(hdrs.ORIGIN, ())
        return given[0] if len(given) == 1 and parse_origin(given[0]) in self._allowed else None
