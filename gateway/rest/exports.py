"""CSV exports (RFC 4180), streamed in short steps: neither a transaction nor the memory grows with their length."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import re
import socket
import struct
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from typing import Final

from aiohttp import hdrs, web

from db.csv_lines import Lines
from execution.slices import breathe, in_slices, pause
from gateway.compression import CompressedParts, takes_gzip
from gateway.requests import ClientLeft, add_headers, rate_headers
from gateway.rest.columns import Column
from gateway.services import SERVICES

STEP_ROWS: Final = 1_000
STEPS_AT_ONCE: Final = 3
"""One that is sent, and those that are read meanwhile, on a connection each."""

# struct linger { on, seconds }: data that was not sent yet is dropped, and the peer is told so.
_NO_LINGER: Final = struct.pack("ii", 1, 0)

Cells = list[object]

Steps = AsyncGenerator[asyncio.Task[Lines], None]
"""Reads that were begun, in the order of their rows."""

# Characters that make a spreadsheet take a cell for a formula (OWASP, "CSV injection"), after any apostrophes
# that were added for this reason: so one apostrophe can always be removed again.
_FORMULA: Final = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")


def _plain(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def csv_lines(columns: Sequence[Column], rows: Iterable[Cells]) -> bytes:
    """Free text that looks like a formula gets an apostrophe before it; amounts stay the numbers that they are."""
    free_text = [index for index, column in enumerate(columns) if column.free_text]
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    for cells in rows:
        breathe()
        for index in free_text:
            cells[index] = _plain(cells[index])
        writer.writerow(cells)
    return lines.getvalue().encode()


async def csv_step(columns: Sequence[Column], rows: Iterable[Cells]) -> bytes:
    """Returns the lines of a step, which are made in slices: a key may have many exports at the same time."""
    await pause()
    return await in_slices(lambda: csv_lines(columns, rows))


def _started(filename: str) -> web.StreamResponse:
    return web.StreamResponse(
        headers={
            hdrs.CONTENT_TYPE: "text/csv; charset=utf-8; header=present",
            hdrs.CONTENT_DISPOSITION: f'attachment; filename="{filename}"',
            hdrs.CACHE_CONTROL: "no-store",
        }
    )


def _break_off(request: web.Request) -> None:
    """Resets the connection: to HTTP/1.0, which proxies speak still, one that is merely closed is a file's end."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


async def _in_order(steps: Steps) -> AsyncGenerator[bytes, None]:
    """The lines of each step, the next steps being read while they are sent."""
    begun: deque[asyncio.Task[Lines]] = deque()
    try:
        async with contextlib.aclosing(steps):
            async for step in steps:
                begun.append(step)
                while begun and (len(begun) == STEPS_AT_ONCE or begun[0].done()):
                    yield (await begun.popleft()).text
        while begun:
            yield (await begun.popleft()).text
    finally:
        for step in begun:
            step.cancel()
        await asyncio.gather(*begun, return_exceptions=True)


class _Writer:
    """Writes to the client, compressed if it wants that. Raises ClientLeft."""

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        compresses = request.app[SERVICES].settings.compress_min_bytes and takes_gzip(request)
        self._response = response
        self._parts = CompressedParts(response) if compresses else None

    async def write(self, text: bytes) -> None:
        part = text if self._parts is None else await self._parts.add(text)
        with _client_left():
            await self._response.write(part)

    async def end(self) -> None:
        with _client_left():
            await self._response.write_eof(b"" if self._parts is None else self._parts.end())


@contextlib.contextmanager
def _client_left() -> Iterator[None]:
    try:
        yield
    except ConnectionError:
        raise ClientLeft from None


async def stream_csv(
    request: web.Request, filename: str, columns: Sequence[Column], steps: Steps
) -> web.StreamResponse:
    """The header line and the lines of each step.

    The first step is read before the response starts, so that its errors are answered as such. After that an
    error breaks the connection off: without its last chunk, no client takes the part that it has for the whole.
    """
    header = csv_lines((), [[column.name for column in columns]])
    response = _started(filename)
    add_headers(request.app[SERVICES], request, response)
    response.headers.update(rate_headers(request))
    writer = _Writer(request, response)
    async with contextlib.aclosing(_in_order(steps)) as texts:
        first = await anext(texts, b"")
        try:
            with _client_left():
                await response.prepare(request)
            if request.method == hdrs.METH_HEAD:
                return response
            await writer.write(header + first)
            async for text in texts:
                await writer.write(text)
            await writer.end()
        except ClientLeft:
            # The client is gone: the answer is only for the log and the metrics.
            return web.Response(status=499)
        except BaseException:
            _break_off(request)
            raise
    return response
