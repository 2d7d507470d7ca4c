"""Checks which page a request comes from: browsers do not keep WebSockets and cookies to their own origin."""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import hdrs, web

from gateway.errors import RequestError
from gateway.origins import PORTS, Origin, parse_origin


def _is_own(origin: Origin, request: web.Request) -> bool:
    """Compares host and port only: a proxy that ends TLS leaves no trace of the scheme."""
    scheme, host, port = origin
    try:
        own = urlsplit(f"//{request.host}")
        return (own.hostname, own.port or PORTS[scheme]) == (host, port)
    except ValueError:
        return False


def check_origin(request: web.Request, allowed: frozenset[Origin] = frozenset()) -> None:
    """Raises RequestError for a page of another origin than our own and those allowed. Only browsers name one."""
    given = request.headers.getall(hdrs.ORIGIN, ())
    if not given:
        return
    origin = parse_origin(given[0]) if len(given) == 1 else None
    if origin is not None and (_is_own(origin, request) or origin in allowed):
        return
    raise RequestError("FORBIDDEN", "requests from this origin are not allowed")
