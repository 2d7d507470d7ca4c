"""GraphQL over WebSocket by the protocol `graphql-transport-ws`: any number of operations on one socket."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from typing import Final

import structlog
from aiohttp import WSMsgType, hdrs, web

from access.keys import Principal
from execution.slices import Slices, pause
from gateway.client_address import client_address
from gateway.errors import RequestError, problem_of
from gateway.protocol import streams_to
from gateway.requests import ClientLeft, add_headers, authenticate, begin_stream, report
from gateway.same_origin import check_origin
from gateway.services import SERVICES
from gateway.streams import messages
from gateway.streams.cancel_scope import CancelScope
from gateway.streams.failures import KEY_ENDED, code_of, errors_of
from gateway.streams.live import LIVE, Ending
from gateway.streams.messages import CloseCode, Closing, Complete, Init, Ping, Subscribe, parse_message
from gateway.streams.record import Record
from gateway.streams.send_buffer import SendBuffer, done_now, prepared
from gateway.streams.source import ANSWERS
from gateway.streams.subscription import Event
from ledger.errors import Forbidden, Unauthenticated

log = structlog.get_logger()

PROTOCOL: Final = "graphql-transport-ws"
CLOSE_SECONDS: Final = 5.0
"""How long a client may take to close its side too."""

_ENDINGS: Final = {
    Ending.KEY: (CloseCode.FORBIDDEN, "Forbidden"),
    Ending.STOPPING: (CloseCode.RESTART, "Service restart"),
}

_INIT_TIMEOUT: Final = (CloseCode.INIT_TIMEOUT, "Connection initialisation timeout")
_LATER: Final = (CloseCode.TRY_AGAIN_LATER, "Try again later")
_INTERNAL: Final = (CloseCode.INTERNAL, "Internal error")


def wants_socket(request: web.Request) -> bool:
    return request.method == hdrs.METH_GET and request.headers.get(hdrs.UPGRADE, "").strip().lower() == "websocket"


def _offers_protocol(request: web.Request) -> bool:
    offered = ",".join(request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ()))
    return PROTOCOL in (one.strip() for one in offered.split(","))


async def serve_socket(request: web.Request) -> web.StreamResponse:
    """Raises RequestError for what is no handshake, for pages of other origins, and while the process stops."""
    settings = request.app[SERVICES].settings
    check_origin(request, settings.origins)
    response = web.WebSocketResponse(
        protocols=(PROTOCOL,),
        heartbeat=settings.heartbeat_seconds,
        max_msg_size=settings.max_body_bytes,
        timeout=CLOSE_SECONDS,
        compress=False,
        # aiohttp would answer pings, and wait for clients that take nothing, between two readings: see SendBuffer.
        autoping=False,
        writer_limit=sys.maxsize,
    )
    if not response.can_prepare(request):
        raise RequestError("BAD_USER_INPUT", "invalid WebSocket handshake: expected RFC 6455, version 13")
    add_headers(request.app[SERVICES], request, response)
    await _Socket(request, response).serve()
    return response


class _Socket:
    """One task reads, and closes the socket; each operation has a task that writes."""

    def __init__(self, request: web.Request, response: web.WebSocketResponse) -> None:
        self._request = request
        self._response = response
        self._services = request.app[SERVICES]
        self._send_buffer: SendBuffer
        self.principal: Principal | None = None
        self._init_received = False
        self._running: dict[str, asyncio.Task[None]] = {}
        self._left: set[asyncio.Task[None]] = set()
        """Operations that the client has completed, until their tasks are through."""
        self._owed: dict[WSMsgType, bytes] = {}
        """Answers to the last pings, while the client takes nothing."""
        self._paying: asyncio.Task[None] | None = None
        self._cancel_scope = CancelScope(self._services.settings.connection_init_seconds)

    def end(self, ending: Ending) -> None:
        self._cancel_scope.cancel(ending)

    async def serve(self) -> None:
        live, started = self._request.app[LIVE], time.monotonic()
        live.enter(self)
        try:
            self._send_buffer = await prepared(self._request, self._response)
            streams_to(self._request, lambda: None)
            begin_stream(self._request, 101)
            await self._close(await self._read())
        finally:
            self._cancel_all()
            live.leave(self)
            key = self.principal.key_prefix if self.principal else None
            seconds = round(time.monotonic() - started, 3)
            log.info("socket", key=key, seconds=seconds, code=self._response.close_code)

    async def _read(self) -> Closing | None:
        """Until the client closes the socket, or the server is to: that is what is returned."""
        try:
            async with self._cancel_scope:
                if not _offers_protocol(self._request):
                    raise Closing(CloseCode.SUBPROTOCOL, "Subprotocol not acceptable")
                await self._read_on()
        except Closing as closing:
            return closing
        except ClientLeft:
            return None
        except Exception as error:  # noqa: BLE001  the edge: there is no response any more that could tell of it
            if isinstance(error, TimeoutError) and self._cancel_scope.has_expired:
                return Closing(*(_ENDINGS[self._cancel_scope.ending] if self._cancel_scope.ending else _INIT_TIMEOUT))
            problem = problem_of(error)
            report(problem, error)
            return Closing(*(_LATER if problem.code == "UNAVAILABLE" else _INTERNAL))
        return None

    async def _read_on(self) -> None:
        slices = Slices()
        async for message in self._response:
            # Messages that are there already are received without a wait.
            if slices.is_over:
                await slices.next()
            if message.type == WSMsgType.TEXT:
                await self._hear(parse_message(message.data))
            elif message.type == WSMsgType.BINARY:
                raise Closing(CloseCode.BAD_MESSAGE, "Invalid message: not text")
            elif message.type == WSMsgType.PING:
                self._pay(WSMsgType.PONG, message.data)
            await self._pace(len(message.data) if isinstance(message.data, str | bytes) else 0)

    async def _pace(self, size_bytes: int) -> None:
        """Waits before the next message is read, if the key sends too many."""
        principal = self.principal
        sender = principal.key_prefix if principal else client_address(self._request, self._services.trusted_proxies)
        seconds = self._services.messages.wait_seconds(sender, size_bytes)
        if seconds:
            await asyncio.sleep(seconds)

    async def _hear(self, message: messages.Message) -> None:
        if isinstance(message, Init):
            await self._begin(message)
        elif isinstance(message, Ping):
            self._pay(WSMsgType.TEXT, messages.pong(message.payload))
        elif isinstance(message, Subscribe):
            await self._subscribe(message)
        elif isinstance(message, Complete):
            task = self._running.pop(message.id, None)
            if task is not None:
                self._left.add(task)
                task.add_done_callback(self._left.discard)
                task.cancel()

    async def _begin(self, message: Init) -> None:
        if self._init_received:
            raise Closing(CloseCode.TOO_MANY_INITS, "Too many initialisation requests")
        self._init_received = True
        self._cancel_scope.lift_deadline()
        header = next((value for name, value in message.payload.items() if name.lower() == "authorization"), None)
        try:
            self.principal = await authenticate(self._request, None if header is None else str(header))
        except (Unauthenticated, Forbidden):
            raise Closing(CloseCode.FORBIDDEN, "Forbidden") from None
        await self._send(messages.ACK)

    async def _subscribe(self, message: Subscribe) -> None:
        if self.principal is None:
            raise Closing(CloseCode.UNAUTHORIZED, "Unauthorized")
        if message.id in self._running:
            raise Closing(CloseCode.SUBSCRIBER_EXISTS, messages.exists(message.id))
        most = self._services.settings.max_subscriptions
        if len(self._running) >= most:
            many = RequestError("QUERY_TOO_COMPLEX", f"the socket already runs {most} operations, which is the maximum")
            await self._send(messages.error(message.id, errors_of(self._services, many)))
            return
        self._running[message.id] = asyncio.create_task(self._run(self.principal, message))
        # Of many messages that arrive at once, others would otherwise wait until all their operations have begun.
        await pause()

    async def _run(self, principal: Principal, message: Subscribe) -> None:
        record = Record(self._services, "websocket", principal, message.given.operation_name)
        reason = "left"
        try:
            with self._request.app[LIVE].operation(principal, self._services.settings.max_streams_per_key):
                await self._answer(principal, message, record)
            await self._send(messages.complete(message.id))
            reason = "completed"
        except ClientLeft:
            pass
        except Exception as error:  # noqa: BLE001  the edge, as gateway/requests.py is for HTTP
            errors = errors_of(self._services, error)
            reason = code_of(errors)
            await asyncio.sleep(self._services.refusals.wait_seconds(principal.key_prefix))
            with suppress(ClientLeft):
                await self._send(messages.error(message.id, errors))
        finally:
            # There was no wait since the last message: the id is free as soon as the client knows.
            if self._running.get(message.id) is asyncio.current_task():
                del self._running[message.id]
            record.end(self._cancel_scope.ending or reason)

    async def _answer(self, principal: Principal, message: Subscribe, record: Record) -> None:
        prefix, send_buffer = messages.next_prefix(message.id), self._send_buffer
        stream = await self._request.app[ANSWERS](self._services, principal, message.given, None)

        def write(event: Event) -> None:
            # Does the same as `_send_now` in a third of the time: thousands of sockets may get the same event.
            send_buffer.write_through(messages.text_frame(prefix + event.payload + b"}"))
            record.sent(event.committed_at)

        await send_buffer.pour(stream, write)

    async def _send(self, frame: bytes) -> None:
        """Raises ClientLeft."""
        await self._send_buffer.ready()
        self._send_now(WSMsgType.TEXT, frame)

    def _send_now(self, kind: WSMsgType, frame: bytes) -> None:
        """Raises ClientLeft."""
        done_now(self._response.send_frame(frame, kind))

    def _pay(self, kind: WSMsgType, answer: bytes) -> None:
        """Answers a ping; while the client takes nothing, later ones take the place of earlier ones."""
        if not self._send_buffer.is_blocked:
            self._send_now(kind, answer)
            return
        self._owed[kind] = answer
        if self._paying is None or self._paying.done():
            self._paying = asyncio.create_task(self._pay_later())

    async def _pay_later(self) -> None:
        with suppress(ClientLeft):
            await self._send_buffer.ready()
            while self._owed:
                self._send_now(*self._owed.popitem())

    async def _close(self, closing: Closing | None) -> None:
        interrupted = list(self._running)
        tasks = {*self._running.values(), *self._left}
        for task in list(self._running.values()):
            # Once only, or it would be interrupted while it gives back what it has.
            task.cancel()
            # Each of them has something to do and to write to the log.
            await pause()
        if self._paying is not None and not self._paying.done():
            self._paying.cancel()
            tasks.add(self._paying)
        if tasks:
            await asyncio.wait(tasks)
        if closing is None:
            return
        if self._cancel_scope.ending == Ending.KEY:
            await self._say_key_ended(interrupted)
        await self._response.close(code=closing.code, message=closing.reason.encode(), drain=False)
        self._send_buffer.drop_rest()

    async def _say_key_ended(self, names: list[str]) -> None:
        errors = errors_of(self._services, KEY_ENDED)
        with suppress(ClientLeft, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                for name in names:
                    await self._send(messages.error(name, errors))

    def _cancel_all(self) -> None:
        """Does nothing if `_close` has waited for all of them."""
        for task in (*self._running.values(), *self._left, *((self._paying,) if self._paying is not None else ())):
            task.cancel()
