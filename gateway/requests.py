"""Handling that all requests share: an id, one error shape, a log line, metrics, and the key."""

from __future__ import annotations

import asyncio
import math
import os
import re
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_to_bytes

import orjson
import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from multidict import MultiMapping
from yarl import URL

from access.addresses import allows
from access.keys import Principal
from db.errors import AccountMoved
from db.moved_accounts import MAX_TRIES
from execution.slices import pauses_by
from gateway.client_address import client_address
from gateway.compression import compress
from gateway.errors import RETRY_SECONDS, STATUS, Problem, RequestError, extensions_of, problem_of
from gateway.logs import request_id, without_keys
from gateway.media_types import JSON, graphql_json_type, takes_html
from gateway.metrics import Metrics
from gateway.pages import not_found_page
from gateway.positions import position_headers
from gateway.rates import Balance, RateExceeded
from gateway.request_notes import begin_notes, count_error, error_codes, logged_name, only_account
from gateway.services import SERVICES, Services
from ledger.errors import Forbidden, Unauthenticated

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

NAME: Final = "billing-gateway"
"""Value of the `Server` header. It has no versions, which would tell what the server can be attacked with."""

KEY_PREFIX: Final = web.RequestKey("key_prefix", str)
RATE: Final = web.RequestKey("rate", Balance)
"""Points that the key may still spend, for the headers of the answer."""
ACCOUNT: Final = web.RequestKey[int | None]("account", int)
"""The account of the key, if it has one."""
OPERATION: Final = web.RequestKey[str | None]("operation", str)
REFUSED: Final = web.RequestKey("refused", bool)
"""Set if the request was refused: its answer may have to wait (`gateway/pace.py`)."""
ON_ANSWERED: Final = web.RequestKey[Callable[[int], object]]("on_answered", object)  # type: ignore[arg-type]
"""Called with the status when the request is answered, or when its stream begins."""

REQUEST_ID: Final = "X-Request-Id"
_GIVEN_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_BEARER: Final = re.compile(r"Bearer +([A-Za-z0-9_-]{1,200})", re.ASCII | re.IGNORECASE)

_CODINGS: Final = frozenset({"", "identity", "gzip", "deflate"})

_HTTP_CODES: Final = {
    404: ("NOT_FOUND", "there is nothing at this path"),
    405: ("METHOD_NOT_ALLOWED", "this path does not allow this method"),
    413: ("PAYLOAD_TOO_LARGE", "the request body is too large"),
    415: ("UNSUPPORTED_MEDIA_TYPE", "this media type is not supported"),
}


def rate_headers(request: web.Request) -> dict[str, str]:
    """`RateLimit` headers as draft-ietf-httpapi-ratelimit-headers has them: points, and seconds."""
    balance = request.get(RATE)
    if balance is None:
        return {}
    rate = balance.rate
    seconds = math.ceil(rate.burst / rate.points_per_second)
    return {
        "RateLimit-Policy": f'"points";q={rate.burst:.0f};w={seconds}',
        "RateLimit": f'"points";r={max(0, int(balance.remaining))};t={balance.reset_seconds}',
    }


def add_headers(services: Services, request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Adds the headers of every answer. A signal of aiohttp is not used: each request would wait for two more
    coroutines."""
    own = {hdrs.SERVER: NAME, REQUEST_ID: request_id.get(), "X-Content-Type-Options": "nosniff"}
    response.headers.update(own)
    services.cross_origin.share(request, response)


async def authenticate(request: web.Request, header: str | None = None) -> Principal:
    """Finds the principal by the request's `Authorization`, or by the given header instead. Raises Unauthenticated."""
    if header is None:
        header = request.headers.get(hdrs.AUTHORIZATION)
    if header is None:
        raise Unauthenticated("an API key is required: Authorization: Bearer eco_…")
    match = _BEARER.fullmatch(header.strip())
    if match is None:
        raise Unauthenticated("the Authorization header must have the form Bearer eco_…")
    services = request.app[SERVICES]
    principal = admit(request, await services.authenticator.principal(match[1]))
    # However many connections a key has: one request begins in each iteration of the event loop.
    await services.loop_turns.start(principal.key_prefix)
    return principal


def admit(request: web.Request, principal: Principal) -> Principal:
    """Notes who asks, by a key or by a token that stands for it. Raises Forbidden for an address that the key is not
    allowed from."""
    services = request.app[SERVICES]
    request[KEY_PREFIX], request[ACCOUNT] = principal.key_prefix, principal.account_id
    address = client_address(request, services.trusted_proxies)
    if not allows(principal.allowed_addresses, address):
        msg = f"the API key is not allowed from the address {address or 'of this client, which is not known'}"
        raise Forbidden(msg)
    services.authenticator.note_use(principal, address)
    pauses_by(services.loop_turns.pause_of(principal.key_prefix))
    return principal


def check_headers(request: web.Request) -> None:
    """Raises RequestError if two keys are given: a proxy may use another of them than the gateway."""
    if len(request.headers.getall(hdrs.AUTHORIZATION, ())) > 1:
        raise RequestError("BAD_USER_INPUT", "the Authorization header must be given at most once")


def query_of(request: web.Request) -> MultiMapping[str]:
    """The address's parameters. Raises RequestError for bytes that are no UTF-8: aiohttp puts U+FFFD in their place."""
    try:
        unquote_to_bytes(request.rel_url.raw_query_string).decode()
    except UnicodeError as error:
        raise RequestError("BAD_USER_INPUT", "the parameters in the address are not UTF-8") from error
    return request.query


class BodyTooSlow(web.RequestPayloadError):
    """The body did not come in time."""

    def __init__(self, seconds: float, bytes_per_second: int) -> None:
        super().__init__(
            f"the request body must arrive within {seconds:g} seconds, and at {bytes_per_second} bytes per second"
        )


class ClientLeft(Exception):
    """The client hung up: nobody waits for an answer."""


def forget_frames(error: BaseException) -> None:
    """The body keeps the error that ended it, and the error's frames keep the body: a cycle of up to megabytes, which
    would wait for a collection of the oldest garbage, and that is rare (gateway/memory.py)."""
    error.__traceback__ = None


async def read_body(request: web.Request) -> bytes:
    """Raises RequestError for a body that is coded otherwise than it says or comes too slowly, and ClientLeft."""
    # aiohttp decodes only these, and takes a body of any other coding as it is.
    coding = ",".join(request.headers.getall(hdrs.CONTENT_ENCODING, ())).strip().lower()
    if coding not in _CODINGS:
        raise RequestError(
            "UNSUPPORTED_MEDIA_TYPE", "Content-Encoding must be given at most once, as gzip, deflate or identity"
        )
    try:
        return await request.read()
    except BodyTooSlow as error:
        forget_frames(error)
        raise RequestError("REQUEST_TIMEOUT", str(error)) from None
    except web.RequestPayloadError as error:
        forget_frames(error)
        msg = "the body does not match its Content-Encoding or Transfer-Encoding"
        raise RequestError("BAD_USER_INPUT", msg) from error
    except ConnectionError as error:
        forget_frames(error)
        raise ClientLeft from None


async def read_anonymous_body(request: web.Request, max_bytes: int) -> bytes:
    """Reads the body of a client without a key. Raises RequestError, ClientLeft, and web.HTTPRequestEntityTooLarge."""
    services = request.app[SERVICES]
    if (request.content_length or 0) > max_bytes:
        raise web.HTTPRequestEntityTooLarge(max_bytes, request.content_length or 0)
    request._client_max_size = max_bytes  # noqa: SLF001  the bound of `read`, also of a body of unknown length
    seconds = services.settings.anonymous_body_timeout_seconds
    with services.anonymous_bodies.reading():
        try:
            async with asyncio.timeout(seconds):
                return await read_body(request)
        except TimeoutError:
            late = BodyTooSlow(seconds, services.settings.min_bytes_per_second)
            # Without this, aiohttp would wait for the rest.
            request._payload.set_exception(late)  # noqa: SLF001
            raise RequestError("REQUEST_TIMEOUT", str(late)) from None


def accept_of(request: web.BaseRequest) -> str:
    return ",".join(request.headers.getall(hdrs.ACCEPT, ()))


def _error_body(request: web.BaseRequest, problem: Problem) -> tuple[str, object]:
    """GraphQL's shape for its path, in the type that the client accepts; `{"error": {code, message, requestId}}` for
    every other path."""
    current = request_id.get()
    if request.path != "/graphql":
        return JSON, {"error": {"code": problem.code, "message": problem.message, "requestId": current}}
    error = {"message": problem.message, "extensions": extensions_of(problem, current)}
    return f"{graphql_json_type(accept_of(request))}; charset=utf-8", {"errors": [error]}


def error_response(request: web.BaseRequest, problem: Problem, headers: dict[str, str] | None = None) -> web.Response:
    content_type, body = _error_body(request, problem)
    response = web.Response(body=orjson.dumps(body), status=STATUS[problem.code], headers=headers)
    response.headers.update({hdrs.CONTENT_TYPE: content_type, hdrs.CACHE_CONTROL: "no-store"})
    if problem.code == "UNAUTHENTICATED":
        response.headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="billing"'
    retry_after = problem.details.get("retryAfter", RETRY_SECONDS if problem.code == "UNAVAILABLE" else None)
    if retry_after is not None:
        response.headers[hdrs.RETRY_AFTER] = str(retry_after)
    return response


def http_problem(error: web.HTTPException) -> Problem:
    if error.status in _HTTP_CODES:
        code, message = _HTTP_CODES[error.status]
        return Problem(code, message if error.reason == HTTPStatus(error.status).phrase else error.reason)
    if error.status < 500:
        return Problem("BAD_USER_INPUT", error.reason or "bad request")
    return Problem("INTERNAL", "internal error", internal=True)


def report(problem: Problem, error: BaseException) -> None:
    """Logs an internal error with its cause; the cause goes nowhere else. A service that is away gets one line: where
    in the program it was missed tells nothing."""
    if problem.internal and problem.code == "UNAVAILABLE":
        log.warning("request failed", code=problem.code, reason=str(error))
    elif problem.internal:
        log.error("request failed", code=problem.code, exc_info=error)


async def _address_without_slash(request: web.Request) -> URL | None:
    """The request's address without the slashes at its end, if that is the address of something."""
    address = request.rel_url.with_path(request.path.rstrip("/") or "/", keep_query=True)
    if address.path == request.path:
        return None
    match = await request.app.router.resolve(request.clone(rel_url=address))
    return address if match.http_exception is None else None


async def _answer_instead(request: web.Request, error: web.HTTPException) -> web.Response | None:
    """Answers exceptions of aiohttp or a handler that are not errors: with a redirect, or a page for a browser."""
    location = error.headers.get(hdrs.LOCATION)
    if location is not None:
        return web.Response(status=error.status, headers={hdrs.LOCATION: location})
    if error.status != HTTPStatus.NOT_FOUND:
        return None
    address = await _address_without_slash(request)
    if address is not None:
        return web.Response(status=HTTPStatus.PERMANENT_REDIRECT, headers={hdrs.LOCATION: str(address)})
    return not_found_page() if takes_html(request.headers.get(hdrs.ACCEPT, "")) else None


async def _handled(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Reads again what was read while its account was moved to another shard."""
    for _ in range(MAX_TRIES - 1):
        try:
            return await handler(request)
        except AccountMoved:
            if request.method != hdrs.METH_GET:
                raise
    return await handler(request)


async def _answer(request: web.Request, handler: Handler, services: Services) -> web.StreamResponse:
    preflight = services.cross_origin.preflight(request)
    if preflight is not None:
        return preflight
    try:
        check_headers(request)
        return await _handled(request, handler)
    except web.HTTPException as error:
        instead = await _answer_instead(request, error)
        if instead is not None:
            return instead
        problem, cause = http_problem(error), error
        headers = {"Allow": error.headers[hdrs.ALLOW]} if hdrs.ALLOW in error.headers else None
        if problem.internal:
            report(problem, cause)
        return _refusal(services, request, problem, headers)
    except ClientLeft:
        return web.Response(status=499)
    except Exception as error:  # noqa: BLE001  the edge: nothing beyond it knows the codes
        if isinstance(error, Unauthenticated):
            # All without a key have one turn together: as many as there are could not be told apart.
            await services.loop_turns.start(None)
        if isinstance(error, RateExceeded):
            request[RATE] = error.balance
        problem = problem_of(error)
        report(problem, error)
        return _refusal(services, request, problem)


def _refusal(
    services: Services, request: web.Request, problem: Problem, headers: dict[str, str] | None = None
) -> web.Response:
    if not problem.internal:
        request[REFUSED] = True
    count_error(services.metrics, problem.code)
    return error_response(request, problem, headers)


def begin(request: web.BaseRequest) -> None:
    """Gives the request its id: the client's own, if that is one."""
    given = request.headers.get(REQUEST_ID, "")
    request_id.set(given if given and _GIVEN_ID.fullmatch(given) else os.urandom(8).hex())
    begin_notes()


def route_of(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"


class _Answering:
    """A request from its beginning until it is answered: for the log and the metrics."""

    def __init__(self, request: web.Request, metrics: Metrics) -> None:
        self._request: web.Request | None = request
        self._metrics = metrics
        self._started = time.perf_counter()
        self._metrics.requests.begin()

    def end(self, status: int) -> None:
        # The request refers to this object too: drop it, so that both are freed now, not by the garbage collector.
        request, self._request = self._request, None
        if request is None:
            return
        seconds = time.perf_counter() - self._started
        route, codes = route_of(request), error_codes()
        self._metrics.requests.end(route, request.method, status, seconds, codes[0] if codes else "")
        if ON_ANSWERED in request:
            request[ON_ANSWERED](status)
        log.info(
            "request",
            method=request.method,
            path=without_keys(request.path),
            status=status,
            milliseconds=round(seconds * 1000, 1),
            key=request.get(KEY_PREFIX),
            account=only_account(request.get(ACCOUNT)),
            operation=logged_name(request.get(OPERATION)),
            codes=codes,
        )


_ANSWERING: Final = web.RequestKey("answering", _Answering)


def begin_stream(request: web.Request, status: int) -> None:
    """The request counts as answered: what follows is a stream, which may go on for days."""
    request[_ANSWERING].end(status)


def edge(services: Services) -> Middleware:
    min_bytes = services.settings.compress_min_bytes
    has_replicas = any(shard.database.replicas is not None for shard in services.shards)

    @web.middleware
    async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
        begin(request)
        request[_ANSWERING] = answering = _Answering(request, services.metrics)
        status = 499  # the client left
        try:
            response = await _answer(request, handler, services)
            status = response.status
            if not response.prepared:
                add_headers(services, request, response)
                response.headers.update(rate_headers(request))
                if has_replicas and KEY_PREFIX in request:
                    response.headers.update(await position_headers(services.database, request.get(ACCOUNT)))
                await compress(request, response, min_bytes)
            return response
        finally:
            answering.end(status)

    return answered
