"""Answers outside the application: to bytes that are not HTTP, and to requests that aiohttp refuses by itself.

aiohttp would answer them as plain text and log a traceback. Both repeat the bytes in question: a header that is too
long, or has a character that is not allowed, can be the header with the key.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError, LineTooLong

from gateway.client_address import client_address
from gateway.connections import BODY_GRACE_SECONDS, REPORT_SECONDS, ConnectionLimits, Connections, Dropped, WritePace
from gateway.errors import Problem, RequestError, problem_of
from gateway.forwarded import ForwardedRequests
from gateway.logs import without_keys
from gateway.request_notes import count_error
from gateway.requests import (
    KEY_PREFIX,
    REFUSED,
    BodyTooSlow,
    add_headers,
    begin,
    error_response,
    forget_frames,
    http_problem,
)
from gateway.services import SERVICES, Services
from gateway.stop_times import seconds_for_requests

log = structlog.get_logger()

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

MAX_LINE_BYTES: Final = 8_190

_UNKNOWN: Final = "unknown"


def _problem(error: BaseException | None) -> Problem:
    if isinstance(error, LineTooLong):
        msg = f"the address or a header is longer than {MAX_LINE_BYTES} bytes"
        return Problem("BAD_USER_INPUT", msg)
    if isinstance(error, ContentEncodingError):
        return Problem(
            "UNSUPPORTED_MEDIA_TYPE", "Content-Encoding must be given at most once, as gzip, deflate or identity"
        )
    if isinstance(error, HttpProcessingError):
        return Problem("BAD_USER_INPUT", "the request is not valid HTTP")
    return Problem("INTERNAL", "internal error", internal=True)


def _refused(services: Services, request: web.BaseRequest, problem: Problem, *, is_read: bool = True) -> web.Response:
    """Answers with the problem. If the request could not be read, neither its method nor its path is known."""
    request[REFUSED] = True
    method, path = (request.method, request.path) if is_read else (_UNKNOWN, _UNKNOWN)
    response = error_response(request, problem)
    add_headers(services, request, response)
    count_error(services.metrics, problem.code)
    services.metrics.requests.count(_UNKNOWN, method, response.status, problem.code)
    log.info(
        "request",
        method=method,
        path=without_keys(path),
        status=response.status,
        codes=[problem.code],
        reason=problem.message,
    )
    return response


WATCH_SECONDS: Final = 1.0
AT_ONCE: Final = 500
"""Connections that are looked at before others have their turn."""
AIOHTTP_LATER_SECONDS: Final = 60.0
LINGER_SECONDS: Final = 2.0
"""For what is left of a body that was refused: a connection that is closed before takes the answer with it."""
CANCEL_SECONDS: Final = 0.2
"""For handlers that are cancelled when the process ends."""


class Connection(web.RequestHandler):
    __slots__ = (
        "_bytes",
        "_bytes_before",
        "_connections",
        "_held",
        "_is_in_head",
        "_part",
        "_pipe",
        "_services",
        "_write_pace",
        "left",
        "since",
    )

    def __init__(
        self, manager: web.Server, services: Services, connections: Connections[Connection], **options: Any
    ) -> None:
        super().__init__(manager, **options)
        self._services = services
        self._connections = connections
        self._pipe: asyncio.Transport | None = None
        """The transport, which aiohttp forgets while it may still have something to send."""
        self._bytes = self._bytes_before = 0
        self._is_in_head = True
        self._held: asyncio.Future[None] | None = None
        """Set while a refusal waits to be sent."""
        self._part: tuple[str, int] = ("", 0)
        self._write_pace = WritePace()
        self.since = 0.0
        """When the part of a request that is awaited was first awaited."""
        self.left: Callable[[], None] | None = None

    @property
    def is_unused(self) -> bool:
        return self._request_count == 0

    @property
    def is_waiting(self) -> bool:
        """Without a request, or with one that was refused."""
        is_free = not self._request_in_progress and not self._messages and self.left is None
        return is_free or self._held is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._pipe = cast("asyncio.Transport", transport)
        self.since = self._loop.time()
        peer = transport.get_extra_info("peername")
        refused = self._connections.admit(self, str(peer[0]) if peer else "")
        if refused is not None:
            self.drop(refused)
            return
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.leave(self)
        self._pipe = None
        self._let_go()
        super().connection_lost(exc)
        if self.left is not None:
            self.left()

    def data_received(self, data: bytes) -> None:
        self._bytes += len(data)
        count = self._request_count
        super().data_received(data)
        if self._request_count != count:
            self._is_in_head = False
        elif data and not self._request_in_progress:
            self._is_in_head = True

    def drop(self, why: Dropped) -> None:
        """Closes the connection at once; what was not sent is lost."""
        self._connections.leave(self)
        self._connections.dropped[why] += 1
        self._services.metrics.dropped.labels(why).inc()
        if self._pipe is not None:
            self._pipe.abort()

    async def hold(self, seconds: float) -> None:
        """Waits before an answer is sent, but not for a client that leaves, nor when the process stops."""
        if self._close or self._force_close:
            return
        self._held = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._let_go)
        try:
            await self._held
        finally:
            timer.cancel()
            self._held = None

    def _let_go(self) -> None:
        if self._held is not None and not self._held.done():
            self._held.set_result(None)

    def close(self) -> None:
        self._let_go()
        super().close()

    def abandon(self) -> None:
        if self._pipe is not None:
            self._pipe.abort()

    def check(self, now: float) -> None:
        """Closes the connection if it takes too long."""
        limits = self._connections.limits
        if self._pipe is None:
            return
        if self._write_pace.is_too_slow(self._pipe, limits, now):
            self.drop(Dropped.WRITE)
        elif self.left is None and not self._upgraded:
            self._check_part(limits, now)

    def _check_part(self, limits: ConnectionLimits, now: float) -> None:
        part = (self._awaited(), self._request_count)
        if part != self._part or (part[0] == "body" and self._reading_paused):
            self._part, self._bytes_before = part, self._bytes
            # The time of a new connection counts from its beginning.
            self.since = now if self._request_count or part[0] != "header" else self.since
        seconds = now - self.since
        if part[0] == "header" and seconds >= limits.header_seconds:
            self.drop(Dropped.HEADER)
        elif part[0] == "idle" and seconds >= limits.idle_seconds:
            self.drop(Dropped.IDLE)
        elif part[0] == "body" and self._is_late(limits, seconds):
            self._refuse_body(limits)

    def _awaited(self) -> str:
        request = self._current_request
        if request is not None:
            return "answer" if request._payload.is_eof() else "body"  # noqa: SLF001
        if self._waiter is None:
            return "answer"
        return "header" if self._is_in_head else "idle"

    def _is_late(self, limits: ConnectionLimits, seconds: float) -> bool:
        least = limits.min_bytes_per_second * seconds
        is_slow = seconds >= BODY_GRACE_SECONDS and self._bytes - self._bytes_before < least
        return is_slow or seconds >= limits.body_seconds

    def _refuse_body(self, limits: ConnectionLimits) -> None:
        request = self._current_request
        assert request is not None
        payload = request._payload  # noqa: SLF001
        if payload.exception() is None:
            self._connections.dropped[Dropped.BODY] += 1
            self._services.metrics.dropped.labels(Dropped.BODY).inc()
            payload.set_exception(BodyTooSlow(limits.body_seconds, limits.min_bytes_per_second))

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109  aiohttp's
        """Ends within these seconds, and a little more where a handler goes on: aiohttp's takes twice as many."""
        self._force_close = True
        self._let_go()
        if self._keepalive_handle is not None:
            self._keepalive_handle.cancel()
        task = self._task_handler
        if task is not None and not task.done():
            if self._request_in_progress and timeout:
                await asyncio.wait([task], timeout=timeout)
            task.cancel()
            await asyncio.wait([task], timeout=CANCEL_SECONDS)
        if self._pipe is not None and self._pipe.get_write_buffer_size():
            self._pipe.abort()
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        begin(request)
        problem = _problem(exc)
        if problem.internal:
            log.error("request failed", code=problem.code, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("part of the answer was already sent")
        response = _refused(self._services, request, problem, is_read=False)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **options: Any) -> None:
        # A body that breaks off, is too slow or cannot be decoded fails again when the rest of it is skipped.
        error = options.get("exc_info")
        if isinstance(error, web.RequestPayloadError | HttpProcessingError):
            forget_frames(error)
        else:
            super().log_exception(*args, **options)


class _Server(web.Server):
    def __init__(
        self, handler: _Handler, services: Services, connections: Connections[Connection], **options: Any
    ) -> None:
        super().__init__(handler, **options)
        self._services = services
        self._opened = connections
        self._checking = self._loop.create_task(self._watch())

    def __call__(self) -> web.RequestHandler:
        return Connection(self, self._services, self._opened, loop=self._loop, **self._kwargs)

    async def _watch(self) -> None:
        opened, reported = self._opened, -math.inf
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            opened.forget_used()
            for number, connection in enumerate(opened.open(), 1):
                connection.check(self._loop.time())
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)
            self._services.metrics.connections.set(len(opened))
            if self._loop.time() - reported >= REPORT_SECONDS:
                reported = self._loop.time() if opened.dropped else reported
                opened.report()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  aiohttp's
        self._checking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._checking
        await super().shutdown(timeout)
        self._opened.report()
        for connection in self._opened.open():
            # The connection is closed, but its client does not read the rest.
            connection.abandon()

    def pre_shutdown(self) -> None:
        # A closing connection receives nothing any more, not even that its client closes a WebSocket too:
        # connections of streams are not closed until the streams have ended (gateway/streams/live.py).
        for connection in self.connections:
            if not isinstance(connection, Connection) or connection.left is None:
                connection.close()


def streams_to(request: web.Request, left: Callable[[], None] | None) -> None:
    """Marks the connection as a stream's, until it is called with None; `left` is called as soon as the client is gone.

    Not `handler_cancellation`: it would break off whatever else clients don't wait for, writes too.
    """
    if isinstance(request.protocol, Connection):
        request.protocol.left = left


async def _hold_if_refused(services: Services, request: web.BaseRequest) -> None:
    """Lets the answer to a refused request wait, if its client is refused too often. All that the request has taken is
    given back by now, but for its connection."""
    if REFUSED not in request or not isinstance(request.protocol, Connection):
        return
    body_bytes = len(request._read_bytes or b"")  # noqa: SLF001
    request._read_bytes = None  # noqa: SLF001  aiohttp would keep it until the answer is sent
    client = request.get(KEY_PREFIX) or client_address(request, services.trusted_proxies)
    seconds = services.refusals.wait_seconds(client, body_bytes)
    if seconds:
        await request.protocol.hold(seconds)


class Runner(web.AppRunner):
    """Runs what `build_app` built. At the end, streams and requests have `shutdown_timeout` seconds together."""

    __slots__ = ()

    async def shutdown(self) -> None:
        started = time.monotonic()
        await super().shutdown()
        seconds = seconds_for_requests(self._shutdown_timeout)
        self._shutdown_timeout = max(0.0, seconds - (time.monotonic() - started))

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        services, handler = self.app[SERVICES], server.request_handler
        limits = ConnectionLimits.of(services.settings)
        forwarded = ForwardedRequests(limits.trusted, limits.max_per_address)

        async def handled(request: web.BaseRequest) -> web.StreamResponse:
            try:
                with forwarded.running(request):
                    response = await handler(request)
            except RequestError as error:
                begin(request)
                response = _refused(services, request, problem_of(error))
            except web.HTTPException as error:
                # Raised before the application's middleware: an unknown `Expect`.
                begin(request)
                response = _refused(services, request, http_problem(error))
            await _hold_if_refused(services, request)
            return response

        return _Server(
            handled,
            services,
            Connections(limits),
            request_factory=server.request_factory,
            access_log=None,
            # `Connection.check` closes earlier. Not 0: aiohttp takes that for no pause at all.
            keepalive_timeout=limits.idle_seconds + AIOHTTP_LATER_SECONDS,
            lingering_time=LINGER_SECONDS,
            # The default of aiohttp delays heartbeats of WebSockets to the next whole second: thousands at once.
            timeout_ceil_threshold=math.inf,
        )
