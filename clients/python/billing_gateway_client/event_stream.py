"""Server-sent events, as the graphql-sse protocol has them."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import NamedTuple


class Event(NamedTuple):
    kind: str
    data: str


async def events(lines: AsyncIterable[bytes]) -> AsyncIterator[Event]:
    """Yields the events of a stream: comments are heartbeats, an event that was cut off is dropped."""
    kind, data = "message", list[str]()
    async for line in lines:
        text = line.decode().rstrip("\r\n")
        name, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if not text:
            if data:
                yield Event(kind, "\n".join(data))
            kind, data = "message", []
        elif name == "event":
            kind = value
        elif name == "data":
            data.append(value)
