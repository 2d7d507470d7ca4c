"""Many subscribers in one process that does little else: they count what they get, and answer the server's pings.

Sockets and event streams are read by hand, since a client that understood more would cost more than the server.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, cast

BATCH: Final = 50
"""Connections that are made at the same time: a server's backlog is short."""

_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_MASKED: Final = 0x80
_NO_MASK: Final = bytes(4)

OnEvent = Callable[[bytes], None]
"""Told the event's message, as it came."""


class Transport(StrEnum):
    WEBSOCKET = "websocket"
    EVENT_STREAM = "event-stream"


@dataclass(frozen=True, slots=True)
class Seat:
    """Who subscribes to what."""

    key: str
    query: str
    variables: dict[str, str]

    def body(self) -> bytes:
        return json.dumps({"query": self.query, "variables": self.variables}).encode()


def _frame(opcode: int, payload: bytes) -> bytes:
    """From a client: masked, by zeros."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, _MASKED | size)) + _NO_MASK + payload
    assert size < 65_536
    return bytes((0x80 | opcode, _MASKED | 126)) + size.to_bytes(2) + _NO_MASK + payload


def _text(message: object) -> bytes:
    return _frame(_TEXT, json.dumps(message).encode())


class Subscriber(asyncio.Protocol):
    """`began` is done when the first event is there, or fails if the server hangs up before."""

    def __init__(self, seat: Seat, on_event: OnEvent) -> None:
        self._seat = seat
        self._on_event = on_event
        self._rest = b""
        self._is_open = False
        self._transport: asyncio.Transport
        self.began: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not asyncio's by descent.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request())

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.began.done():
            self.began.set_exception(exc or ConnectionError(f"hung up: {self._rest[:300]!r}"))

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        if not self._is_open:
            head = data.find(b"\r\n\r\n")
            if head < 0:
                self._rest = data
                return
            if not data.startswith((b"HTTP/1.1 101", b"HTTP/1.1 200")):
                self._rest = data
                self.leave()
                return
            self._is_open = True
            self._opened()
            data = data[head + 4 :]
        self._rest = data[self._read(data) :]

    def _event(self, message: bytes) -> None:
        if not self.began.done():
            self.began.set_result(None)
        self._on_event(message)

    def leave(self, *, rudely: bool = True) -> None:
        if rudely:
            self._transport.abort()
        else:
            self._goodbye()
            self._transport.close()

    def _request(self) -> bytes:
        raise NotImplementedError

    def _opened(self) -> None:
        """The head of the response is there."""

    def _read(self, data: bytes) -> int:
        """How much of it was read."""
        raise NotImplementedError

    def _goodbye(self) -> None:
        """What a client says that hangs up."""


class SocketSubscriber(Subscriber):
    def _request(self) -> bytes:
        return (
            b"GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
        )

    def _opened(self) -> None:
        init = {"type": "connection_init", "payload": {"Authorization": f"Bearer {self._seat.key}"}}
        self._transport.write(_text(init))

    def _read(self, data: bytes) -> int:
        at, size = 0, len(data)
        while size - at >= 2:
            length, body = data[at + 1], at + 2
            if length == 126:
                if size - at < 4:
                    break
                length, body = int.from_bytes(data[at + 2 : at + 4]), at + 4
            assert length < 126 or length < 65_536
            if size < body + length:
                break
            self._heard(data[at] & 0x0F, data[body : body + length])
            at = body + length
        return at

    def _heard(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self._transport.write(_frame(_PONG, payload))
        elif opcode == _CLOSE:
            self.leave(rudely=False)
        elif self.began.done() or b'"next"' in payload[:40]:
            self._event(payload)
        elif b"connection_ack" in payload:
            request = {"query": self._seat.query, "variables": self._seat.variables}
            self._transport.write(_text({"id": "1", "type": "subscribe", "payload": request}))
        else:
            self._rest = payload
            self.leave()

    def _goodbye(self) -> None:
        self._transport.write(_frame(_CLOSE, (1000).to_bytes(2)))


class StreamSubscriber(Subscriber):
    def _request(self) -> bytes:
        body = self._seat.body()
        return (
            f"POST /graphql HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._seat.key}\r\n"
            f"Accept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def _read(self, data: bytes) -> int:
        """Chunks end where events end, which have no line breaks within."""
        end = data.rfind(b"\n\n") + 2
        if end < 2:
            return 0
        for block in data[:end].split(b"\n\n"):
            if b"event: next\n" in block:
                self._event(block)
        return end


_KINDS: Final[dict[Transport, type[Subscriber]]] = {
    Transport.WEBSOCKET: SocketSubscriber,
    Transport.EVENT_STREAM: StreamSubscriber,
}


async def gathered(
    transport: Transport, port: int, seats: Sequence[Seat], on_event: Callable[[int], OnEvent]
) -> list[Subscriber]:
    """All of them subscribed. `on_event` is asked for each by its number.

    They come from several addresses of the loopback network, which has but 28,000 ports of its own each.
    """
    loop = asyncio.get_running_loop()
    sources = itertools.cycle(f"127.0.0.{last}" for last in range(2, 10))

    async def one(number: int) -> Subscriber:
        _, subscriber = await loop.create_connection(
            lambda: _KINDS[transport](seats[number], on_event(number)), "127.0.0.1", port, local_addr=(next(sources), 0)
        )
        await subscriber.began
        return subscriber

    subscribers: list[Subscriber] = []
    for start in range(0, len(seats), BATCH):
        subscribers += await asyncio.gather(*map(one, range(start, min(start + BATCH, len(seats)))))
    return subscribers
