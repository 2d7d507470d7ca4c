"""A client of event streams, byte for byte over a socket of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from tests.gateway.streams.conftest import Gateway
from tests.gateway.streams.tap import SUBSCRIPTION

EVENTS = "text/event-stream"
COMPLETE = "event: complete\ndata:"


class EventClient:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self._rest = b""

    async def read_head(self) -> None:
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 20)
        first, *lines = head.decode().rstrip("\r\n").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}

    async def _read_chunk(self) -> bytes:
        """Empty at the end of the response."""
        size = int(await asyncio.wait_for(self._reader.readline(), 20), 16)
        chunk = await asyncio.wait_for(self._reader.readexactly(size + 2), 20)
        assert chunk.endswith(b"\r\n")
        return chunk[:-2]

    async def block(self) -> str | None:
        """The next event or comment, whole; None at the end of the response."""
        while b"\n\n" not in self._rest:
            chunk = await self._read_chunk()
            if not chunk:
                assert self._rest == b""
                return None
            self._rest += chunk
        one, self._rest = self._rest.split(b"\n\n", 1)
        return one.decode()

    async def next(self) -> tuple[str | None, Any]:
        """The id and the data of the `next` event that must come next."""
        block = await self.block()
        assert block is not None
        lines = block.split("\n")
        assert lines.pop(0) == "event: next"
        name = lines.pop(0).removeprefix("id: ") if lines[0].startswith("id: ") else None
        (data,) = lines
        assert data.startswith("data: ")
        return name, json.loads(data.removeprefix("data: "))

    async def body(self) -> Any:
        return json.loads(await asyncio.wait_for(self._reader.readexactly(int(self.headers["content-length"])), 20))

    async def read_to_end(self) -> bytes:
        return await asyncio.wait_for(self._reader.read(), 20)


@asynccontextmanager
async def requested(
    gateway: Gateway,
    query: str = SUBSCRIPTION,
    *,
    method: str = "POST",
    variables: dict[str, Any] | None = None,
    version: str = "1.1",
    limit: int = 2**16,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[EventClient]:
    """After the head of the answer. A header is left out where it is given as an empty text."""
    given = {
        "Host": f"127.0.0.1:{gateway.port}",
        "Authorization": f"Bearer {gateway.key}",
        "Accept": EVENTS,
        **headers,
    }
    target, body = "/graphql", b""
    if method == "POST":
        body = json.dumps({"query": query, "variables": variables}).encode()
        given |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    else:
        target += "?" + urlencode({"query": query} | ({"variables": json.dumps(variables)} if variables else {}))
    lines = [f"{method} {target} HTTP/{version}", *(f"{name}: {value}" for name, value in given.items() if value)]
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=limit)
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        client = EventClient(reader, writer)
        await client.read_head()
        yield client
    finally:
        writer.transport.abort()
