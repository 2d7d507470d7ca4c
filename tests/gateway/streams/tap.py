"""Streams that the test fills: handed to the application in place of the ledger's, to try what a ledger seldom does."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import orjson

from access.keys import Principal
from gateway.graphql_request import GraphQLRequest
from gateway.requests import ClientLeft
from gateway.services import Services
from gateway.streams.subscription import Event, EventStream, Sink, answers

SUBSCRIPTION = "subscription { balanceChanged { cursor } }"
"""Right by the schema; what the test gives out in its place need not be."""


@dataclass(frozen=True)
class Asked:
    key_prefix: str
    variables: dict[str, Any] | None
    last_event_id: str | None


class Stream:
    """Hands its events on as the ledger's streams do: at once where somebody waits for them."""

    def __init__(self) -> None:
        self._items: deque[Event | Exception | None] = deque()
        self._woken: asyncio.Future[None] | None = None
        self._sink: Sink | None = None
        self.taken = 0
        """Events that the transport got."""
        self.closed = asyncio.Event()

    def attach(self, sink: Sink) -> None:
        self._sink = sink

    def give(self, item: Event | Exception | None) -> None:
        """An event, an exception to raise, or None for the end."""
        woken = self._woken
        if woken is None or woken.done():
            self._items.append(item)
        elif isinstance(item, Event) and self._takes(item):
            self.taken += 1
        else:
            self._items.append(item)
            woken.set_result(None)

    def _takes(self, item: Event) -> bool:
        try:
            return self._sink is not None and self._sink(item)
        except ClientLeft:
            return False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if not self._items:
            self._woken = asyncio.get_running_loop().create_future()
            await self._woken
        item = self._items.popleft()
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, Exception):
            raise item
        self.taken += 1
        return item

    async def aclose(self) -> None:
        self.closed.set()


@dataclass
class Tap:
    asked: list[Asked] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    refusal: Exception | None = None
    gate: asyncio.Event | None = None
    """While it is there and not set, nothing begins."""
    begun: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def answers(
        self, services: Services, principal: Principal, given: GraphQLRequest, last_event_id: str | None = None
    ) -> EventStream:
        """What begins with `subscription` is the test's, the rest is answered as ever."""
        if self.gate is not None:
            await self.gate.wait()
        if not (given.query or "").startswith("subscription"):
            return await answers(services, principal, given, last_event_id)
        self.asked.append(Asked(principal.key_prefix, given.variables, last_event_id))
        if self.refusal is not None:
            raise self.refusal
        stream = Stream()
        async with self.begun:
            self.streams.append(stream)
            self.begun.notify_all()
        return stream

    async def stream(self, number: int = 0) -> Stream:
        """The n-th that began, waited for."""
        async with asyncio.timeout(20), self.begun:
            await self.begun.wait_for(lambda: len(self.streams) > number)
        return self.streams[number]


def event(number: int, committed_at: datetime | None = None, padding: int = 0) -> Event:
    payload = {"data": {"number": number, "padding": "x" * padding} if padding else {"number": number}}
    return Event(f"cursor-{number}", orjson.dumps(payload), committed_at)


async def until(look: Callable[[], bool]) -> None:
    """Until it is true what happens in this process, but at another time."""
    for _ in range(2_000):
        if look():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")
