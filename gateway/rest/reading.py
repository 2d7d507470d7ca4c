from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from gateway.parts import PARTS
from gateway.requests import authenticate
from resolvers.context import Reads


@contextlib.asynccontextmanager
async def reading(request: web.Request, *, brief: bool = False) -> AsyncIterator[Reads]:
    """One read for the key of the request. Its connection is taken at the first statement; `brief` allows no other."""
    parts = request.app[PARTS]
    principal = await authenticate(request)
    async with parts.database.snapshot(brief=brief) as snapshot:
        yield Reads(snapshot, principal, parts.clock())
