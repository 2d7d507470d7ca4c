from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from gateway.requests import ClientLeft

STALLED_SECONDS: Final = 60.0
"""A client that takes nothing for so long is gone, or as good as gone."""


class Outlet:
    """Says when a connection takes more: whoever waits before each write never waits within one.

    aiohttp waits within writes, all writers of a connection for one future: to cancel one of them there is to cancel
    the others too. So its own waiting is turned off, and what is waited for here is shielded.
    """

    __slots__ = ("_draining", "_protocol", "writer")

    def __init__(self, request: web.Request, writer: AbstractStreamWriter) -> None:
        self.writer = writer
        self._protocol = request.protocol
        self._draining: asyncio.Task[None] | None = None

    @property
    def is_blocked(self) -> bool:
        return self._protocol.writing_paused

    async def ready(self) -> None:
        """Raises ConnectionError as soon as the client is gone.

        Who has waited writes once, full or not: all who wait get their turn each time that the client takes something.
        """
        if self._protocol.writing_paused:
            if self._draining is None or self._draining.done():
                self._draining = asyncio.create_task(self._drained())
            await asyncio.shield(self._draining)

    async def _drained(self) -> None:
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                await self.writer.drain()
        except TimeoutError:
            self.drop_rest()
            raise ConnectionResetError("the client takes nothing") from None

    def drop_rest(self) -> None:
        """At the end: what the client has not taken by now would keep the connection open."""
        transport = self._protocol.transport
        if transport is not None and transport.get_write_buffer_size():
            transport.abort()


async def prepared(request: web.Request, response: web.StreamResponse) -> Outlet:
    """Sends the head of the response. Raises ClientLeft."""
    try:
        writer = await response.prepare(request)
    except ConnectionError as error:
        raise ClientLeft from error
    assert writer is not None, "the response was prepared before"
    return Outlet(request, writer)
