from __future__ import annotations

from aiohttp import hdrs, web


def add_vary(response: web.StreamResponse, name: str) -> None:
    """Tells caches that the answer depends on this header of the request, too."""
    vary = response.headers.get(hdrs.VARY)
    response.headers[hdrs.VARY] = f"{vary}, {name}" if vary else name
