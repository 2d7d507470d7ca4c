"""Writing to clients that may take it slowly, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any

from aiohttp import web
from aiohttp.http import StreamWriter

from gateway.requests import ClientLeft
from gateway.streams.subscription import Event, EventStream


def done_now(write: Coroutine[Any, Any, None]) -> None:
    """Runs a write of aiohttp's that waits for nothing: so it may be called where no task is. Raises ClientLeft."""
    try:
        write.send(None)
    except StopIteration:
        return
    except ConnectionError as error:
        raise ClientLeft from error
    write.close()
    raise AssertionError("the write waits")


def _notice(task: asyncio.Task[None]) -> None:
    """Retrieves the error of the task: if the waiting writer was cancelled, no other code does."""
    if not task.cancelled():
        task.exception()


class SendBuffer:
    """Says when a connection takes more: a writer that waits before each write never waits within one.

    aiohttp waits within writes, all writers of a connection for one future: to cancel one of them there is to cancel
    the others too. So aiohttp's own waiting is turned off, and the wait here is shielded.
    """

    __slots__ = ("_draining", "_loop", "_protocol", "_writer", "written_at")

    def __init__(self, request: web.Request, writer: StreamWriter) -> None:
        self._protocol = request.protocol
        self._writer = writer
        self._draining: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.written_at = self._loop.time()

    @property
    def is_blocked(self) -> bool:
        return self._protocol.writing_paused

    async def ready(self) -> None:
        """Raises ClientLeft.

        Who has waited writes once, full or not: all who wait get their turn each time that the client takes something.
        """
        if self._protocol.writing_paused:
            if self._draining is None or self._draining.done():
                self._draining = asyncio.create_task(self._drained())
                self._draining.add_done_callback(_notice)
            await asyncio.shield(self._draining)

    async def _drained(self) -> None:
        """A client that takes nothing is cut off by gateway/connections.py."""
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise ClientLeft from error

    async def pour(self, stream: EventStream, write: Callable[[Event], None]) -> None:
        """Writes all events of the stream, and closes it: those that come while the connection takes more at once, as
        they are handed over, the others when it is ready. Raises ClientLeft, and what the stream raises."""

        def take(event: Event) -> bool:
            if self.is_blocked:
                return False
            write(event)
            return True

        async with aclosing(stream):
            stream.attach(take)
            async for event in stream:
                await self.ready()
                write(event)

    async def write(self, chunk: bytes) -> None:
        """Writes to the body of a response, when the connection is ready. Raises ClientLeft."""
        await self.ready()
        self.write_now(chunk)

    def write_now(self, chunk: bytes) -> None:
        """Raises ClientLeft."""
        self.written_at = self._loop.time()
        done_now(self._writer.write(chunk, drain=False))

    def write_through(self, frame: bytes) -> None:
        """Writes to the connection, past aiohttp's writer of bodies. Raises ClientLeft."""
        transport = self._protocol.transport
        if transport is None or transport.is_closing():
            raise ClientLeft
        transport.write(frame)

    def drop_rest(self) -> None:
        """Drops, at the end, the data that the client has not taken: it would keep the connection open."""
        transport = self._protocol.transport
        if transport is not None and transport.get_write_buffer_size():
            transport.abort()


async def prepared(request: web.Request, response: web.StreamResponse) -> SendBuffer:
    """Sends the head of the response. Raises ClientLeft."""
    try:
        writer = await response.prepare(request)
    except ConnectionError as error:
        raise ClientLeft from error
    assert isinstance(writer, StreamWriter)
    return SendBuffer(request, writer)


@contextmanager
def beating(send_buffer: SendBuffer, sign_of_life: bytes, seconds: float) -> Iterator[None]:
    """Writes the sign whenever nothing was written for so long. A timer of each, so that not all beat at once."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(seconds, lambda: beat())

    def beat() -> None:
        nonlocal timer
        silent = loop.time() - send_buffer.written_at
        if silent >= seconds and not send_buffer.is_blocked:
            with suppress(ClientLeft):
                send_buffer.write_now(sign_of_life)
            silent = 0.0
        timer = loop.call_later(max(seconds - silent, seconds / 10), beat)

    try:
        yield
    finally:
        timer.cancel()
