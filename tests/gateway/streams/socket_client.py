"""A client of `graphql-transport-ws` that says exactly what a test wants said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientWebSocketResponse, WSMsgType

from tests.gateway.streams.conftest import Gateway
from tests.gateway.streams.tap import SUBSCRIPTION

PROTOCOL = "graphql-transport-ws"


class SocketClient:
    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket

    @property
    def transport(self) -> asyncio.Transport:
        connection = self.socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        return connection.transport

    async def send(self, message: Any) -> None:
        await self.socket.send_json(message)

    async def received(self) -> Any:
        message = await self.socket.receive(timeout=20)
        assert message.type == WSMsgType.TEXT, message
        return message.json()

    async def closed(self) -> tuple[int | None, str | None]:
        """The code and the reason with which the server closes, which it must do next."""
        message = await self.socket.receive(timeout=20)
        assert message.type == WSMsgType.CLOSE, message
        return message.data, message.extra

    async def init(self, key: str) -> None:
        await self.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {key}"}})
        assert await self.received() == {"type": "connection_ack"}

    async def subscribe(self, name: str, query: str = SUBSCRIPTION, **payload: Any) -> None:
        await self.send({"id": name, "type": "subscribe", "payload": {"query": query, **payload}})

    async def complete(self, name: str) -> None:
        await self.send({"id": name, "type": "complete"})


@asynccontextmanager
async def opened(
    gateway: Gateway, protocols: tuple[str, ...] = (PROTOCOL,), **options: Any
) -> AsyncIterator[SocketClient]:
    async with gateway.session.ws_connect(gateway.url, protocols=protocols, **options) as socket:
        yield SocketClient(socket)


@asynccontextmanager
async def connected(gateway: Gateway, key: str | None = None, **options: Any) -> AsyncIterator[SocketClient]:
    """After a successful connection initialisation."""
    async with opened(gateway, **options) as client:
        await client.init(key or gateway.key)
        yield client
