"""Responses that are compressed by gzip where the client accepts it."""

from __future__ import annotations

import asyncio
import zlib
from functools import lru_cache
from typing import Final

from aiohttp import hdrs, web

from gateway.media_types import accepted
from gateway.vary import add_vary

LEVEL: Final = 1
"""A third of the time of the usual 6, for a tenth more bytes."""
AT_ONCE_BYTES: Final = 65_536
"""Bodies of this size or larger are compressed by a thread, so that others are answered meanwhile."""

_GZIP: Final = 16 + zlib.MAX_WBITS

_MAY_BE_COMPRESSED: Final = web.ResponseKey("may be compressed", bool)


@lru_cache(maxsize=256)
def _takes_gzip(header: str) -> bool:
    weights = accepted(header)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def takes_gzip(request: web.Request) -> bool:
    return _takes_gzip(",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, ())))


def compressible(response: web.Response) -> web.Response:
    """Marks a response without secrets: how well a secret is compressed beside a client's text can give it away
    (BREACH)."""
    response[_MAY_BE_COMPRESSED] = True
    return response


def _compressed(body: bytes) -> bytes:
    return zlib.compress(body, LEVEL, wbits=_GZIP)


async def compress(request: web.Request, response: web.StreamResponse, min_bytes: int) -> None:
    """Compresses a response that is marked as compressible, if it is large enough and the client accepts it."""
    if not isinstance(response, web.Response) or _MAY_BE_COMPRESSED not in response:
        return
    body = response.body
    if not min_bytes or not isinstance(body, bytes) or len(body) < min_bytes:
        return
    add_vary(response, hdrs.ACCEPT_ENCODING)
    if takes_gzip(request):
        response.body = _compressed(body) if len(body) < AT_ONCE_BYTES else await asyncio.to_thread(_compressed, body)
        response.headers[hdrs.CONTENT_ENCODING] = "gzip"


class CompressedParts:
    """A response that is compressed while it is written; `parts` that go out may be empty until the end."""

    def __init__(self, response: web.StreamResponse) -> None:
        self._compressor = zlib.compressobj(LEVEL, wbits=_GZIP)
        response.headers[hdrs.CONTENT_ENCODING] = "gzip"
        add_vary(response, hdrs.ACCEPT_ENCODING)

    async def add(self, part: bytes) -> bytes:
        return await asyncio.to_thread(self._compressor.compress, part)

    def end(self) -> bytes:
        return self._compressor.flush()
