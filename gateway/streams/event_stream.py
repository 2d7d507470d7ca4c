"""GraphQL over server-sent events by the protocol of graphql-sse, distinct connections: a response an operation."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

import orjson
from aiohttp import hdrs, web

from access.keys import Principal
from gateway.graphql_request import GraphQLRequest
from gateway.operations import Refused
from gateway.protocol import streams_to
from gateway.requests import REFUSED, ClientLeft, add_headers, begin_stream
from gateway.services import SERVICES
from gateway.streams.cancel_scope import CancelScope
from gateway.streams.failures import KEY_ENDED, code_of, errors_of
from gateway.streams.live import LIVE, Ending
from gateway.streams.record import Record
from gateway.streams.send_buffer import SendBuffer, beating, prepared
from gateway.streams.source import ANSWERS
from gateway.streams.subscription import Event

MEDIA_TYPE: Final = "text/event-stream"
LAST_EVENT_ID: Final = "Last-Event-ID"

GOODBYE_SECONDS: Final = 5.0

# Without a line of data browsers would not tell of the event.
_COMPLETE: Final = b"event: complete\ndata:\n\n"
_SIGN_OF_LIFE: Final = b":\n\n"


def _next(payload: bytes, event_id: str | None = None) -> bytes:
    """A payload is JSON without line breaks, and a cursor has none either."""
    line = b"" if event_id is None else b"id: " + event_id.encode() + b"\n"
    return b"event: next\n" + line + b"data: " + payload + b"\n\n"


async def serve_events(
    request: web.Request, principal: Principal, given: GraphQLRequest, refused: Refused | None = None
) -> web.StreamResponse:
    """Raises RequestError while the process stops.

    Every other refusal, one that is known already too, is told in the stream, as the protocol demands: a browser's
    EventSource sees nothing else.
    """
    response = web.StreamResponse(
        headers={
            hdrs.CONTENT_TYPE: f"{MEDIA_TYPE}; charset=utf-8",
            hdrs.CACHE_CONTROL: "no-cache, no-transform",
            "X-Accel-Buffering": "no",
        }
    )
    add_headers(request.app[SERVICES], request, response)
    await _EventStream(request, response, principal, given, refused).serve()
    return response


class _EventStream:
    """The task of the request writes it, from the first event to the last."""

    def __init__(
        self,
        request: web.Request,
        response: web.StreamResponse,
        principal: Principal,
        given: GraphQLRequest,
        refused: Refused | None,
    ) -> None:
        self._request = request
        self._response = response
        self._services = request.app[SERVICES]
        self._given = given
        self._refused = refused
        self.principal = principal
        self._send_buffer: SendBuffer
        self._cancel_scope = CancelScope()

    def end(self, ending: Ending) -> None:
        self._cancel_scope.cancel(ending)

    async def serve(self) -> None:
        live = self._request.app[LIVE]
        live.enter(self)
        try:
            self._send_buffer = await prepared(self._request, self._response)
            streams_to(self._request, lambda: self.end(Ending.LEFT))
            begin_stream(self._request, 200)
            with beating(self._send_buffer, _SIGN_OF_LIFE, self._services.settings.heartbeat_seconds):
                await self._run()
            await self._finish()
        finally:
            streams_to(self._request, None)
            live.leave(self)

    async def _run(self) -> None:
        record = Record(self._services, "sse", self.principal, self._given.operation_name)
        reason = "left"
        try:
            async with self._cancel_scope:
                with self._request.app[LIVE].operation(self.principal, self._services.settings.max_streams_per_key):
                    await self._answer(record)
                await self._send_buffer.write(_COMPLETE)
            reason = "completed"
        except ClientLeft:
            pass
        except Exception as error:  # noqa: BLE001  the edge, as gateway/requests.py is for other requests
            if isinstance(error, TimeoutError) and self._cancel_scope.has_expired:
                assert self._cancel_scope.ending is not None
                reason = self._cancel_scope.ending
                errors = errors_of(self._services, KEY_ENDED) if reason == Ending.KEY else []
            else:
                self._request[REFUSED] = True
                errors = errors_of(self._services, error)
                reason = code_of(errors)
            if errors:
                await self._end_with(errors)
        finally:
            record.end(reason)

    async def _answer(self, record: Record) -> None:
        if self._refused is not None:
            raise self._refused
        after = self._request.headers.get(LAST_EVENT_ID) or None
        stream = await self._request.app[ANSWERS](self._services, self.principal, self._given, after)
        send_buffer = self._send_buffer

        def write(event: Event) -> None:
            send_buffer.write_now(_next(event.payload, event.id))
            record.sent(event.committed_at)

        await send_buffer.pour(stream, write)

    async def _end_with(self, errors: list[dict[str, Any]]) -> None:
        with suppress(ClientLeft, TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._send_buffer.write(_next(orjson.dumps({"errors": errors})) + _COMPLETE)

    async def _finish(self) -> None:
        """A stream that ends without `complete` makes its client connect again: so it is when the process stops."""
        if self._cancel_scope.ending is not None:
            self._response.force_close()
            if self._send_buffer.is_blocked:
                self._send_buffer.drop_rest()
        else:
            # aiohttp would wait at the end of the response for as long as the client likes.
            with suppress(ClientLeft):
                await self._send_buffer.ready()
