"""What is answered beside the application: bytes that are no HTTP, and requests that aiohttp refuses by itself.

aiohttp would answer them as plain text and log a traceback, and both repeat the bytes in question: a header that is
too long, or has a character that none may have, can be the one with the key.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError, LineTooLong

from gateway.errors import Problem
from gateway.logs import without_keys
from gateway.request_notes import count_error
from gateway.requests import begin, error_response, http_problem, own_headers
from gateway.services import SERVICES, Services

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


def _refused(services: Services, problem: Problem, *, method: str, path: str) -> web.Response:
    response = error_response(problem, graphql=path == "/graphql")
    response.headers.update(own_headers())
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


class _Connection(web.RequestHandler):
    __slots__ = ("_services", "left")

    def __init__(self, manager: web.Server, services: Services, **options: Any) -> None:
        super().__init__(manager, **options)
        self._services = services
        self.left: Callable[[], None] | None = None

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self.left is not None:
            self.left()

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
        # Neither a method nor a path was read.
        response = _refused(self._services, problem, method=_UNKNOWN, path=_UNKNOWN)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **options: Any) -> None:
        # A body that breaks off or cannot be decoded is noticed again when what is left of it is skipped.
        if not isinstance(options.get("exc_info"), web.RequestPayloadError | HttpProcessingError):
            super().log_exception(*args, **options)


class _Server(web.Server):
    def __init__(self, handler: _Handler, services: Services, **options: Any) -> None:
        super().__init__(handler, **options)
        self._services = services

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._services, loop=self._loop, **self._kwargs)

    def pre_shutdown(self) -> None:
        # A connection that is closing hears nothing any more, not even that its client closes a WebSocket too:
        # streams are left alone until they have ended (gateway/streams/live.py).
        for connection in self.connections:
            if not isinstance(connection, _Connection) or connection.left is None:
                connection.close()


def streams_to(request: web.Request, left: Callable[[], None] | None) -> None:
    """Marks the connection as a stream's, until it is called with None; `left` is called as soon as the client is gone.

    Not `handler_cancellation`: it would break off whatever else clients don't wait for, writes too.
    """
    if isinstance(request.protocol, _Connection):
        request.protocol.left = left


class Runner(web.AppRunner):
    """Runs what `build_app` built. At the end, streams and requests have `shutdown_timeout` seconds together."""

    __slots__ = ()

    async def shutdown(self) -> None:
        started = time.monotonic()
        await super().shutdown()
        self._shutdown_timeout = max(0.0, self._shutdown_timeout - (time.monotonic() - started))

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        services, handler = self.app[SERVICES], server.request_handler

        async def handled(request: web.BaseRequest) -> web.StreamResponse:
            try:
                return await handler(request)
            except web.HTTPException as error:
                # Raised before the application's middleware: an `Expect` that nobody knows.
                begin(request)
                return _refused(services, http_problem(error), method=request.method, path=request.path)

        return _Server(
            handled,
            services,
            request_factory=server.request_factory,
            access_log=None,
            # By itself aiohttp puts the heartbeats of WebSockets off to the next whole second: thousands at once.
            timeout_ceil_threshold=math.inf,
        )
