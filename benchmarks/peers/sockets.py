"""aiohttp's WebSockets and nothing else: what a socket costs, and what it takes to send the same bytes to all of them.

It says what `graphql-transport-ws` says until a subscription has begun. `POST /broadcast` takes a JSON list of
messages.
"""

from __future__ import annotations

import asyncio
from typing import Final

import orjson
from aiohttp import web

from benchmarks.peers.serving import main

HEARTBEAT_SECONDS: Final = 20.0
SOCKETS: Final = web.AppKey("sockets", set[web.WebSocketResponse])

_ACK: Final = '{"type":"connection_ack"}'
_FIRST: Final = '{"id":"1","type":"next","payload":{"data":null}}'


async def _subscribe(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(protocols=("graphql-transport-ws",), heartbeat=HEARTBEAT_SECONDS, compress=False)
    await socket.prepare(request)
    sockets = request.app[SOCKETS]
    try:
        async for message in socket:
            subscribes = orjson.loads(message.data)["type"] == "subscribe"
            await socket.send_str(_FIRST if subscribes else _ACK)
            if subscribes:
                sockets.add(socket)
    finally:
        sockets.discard(socket)
    return socket


async def _broadcast(request: web.Request) -> web.Response:
    for message in await request.json():
        for socket in request.app[SOCKETS]:
            await socket.send_str(message)
        # So that pings are answered in between.
        await asyncio.sleep(0)
    return web.Response()


async def build(_url: str) -> web.Application:
    app = web.Application(client_max_size=1 << 26)
    app[SOCKETS] = set()
    app.router.add_get("/graphql", _subscribe)
    app.router.add_post("/broadcast", _broadcast)
    return app


if __name__ == "__main__":
    main(build)
