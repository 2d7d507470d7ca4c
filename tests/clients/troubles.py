"""Troubles on the way to a gateway: an answer that is lost, a gateway that is busy, streams that are cut."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Troubles:
    """What happens to the requests of `key`, in order. Other requests have none."""

    def __init__(self, key: str, planned: list[str]) -> None:
        self._key = key
        self._planned = planned
        self._streams: list[asyncio.Transport] = []
        self.times: list[float] = []
        """When the requests of `key` came."""

    async def handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        if request.headers.get("Accept") == "text/event-stream":
            self._streams.append(transport)
        if self._key not in request.headers.get("Authorization", ""):
            return await handler(request)
        self.times.append(asyncio.get_running_loop().time())
        trouble = self._planned.pop(0) if self._planned else ""
        if trouble == "busy":
            return web.Response(status=503, text="come back later", headers={"Retry-After": "1"})
        if trouble == "cut":
            self._cut_streams()
        answer = await handler(request)
        if trouble == "lost":
            transport.abort()
        return answer

    def _cut_streams(self) -> None:
        for stream in self._streams:
            stream.abort()
        self._streams.clear()
