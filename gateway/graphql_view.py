"""GraphQL over HTTP: one request, one operation, one snapshot."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import orjson
from aiohttp import hdrs, web
from graphql import OperationType

from access.keys import Principal
from gateway.compression import compressible
from gateway.entity_tags import cacheable
from gateway.errors import RETRY_SECONDS, RequestError
from gateway.graphql_request import GraphQLRequest, checked_request, parsed_json
from gateway.json_bodies import posted_json
from gateway.media_types import GRAPHQL_JSON, JSON, accepted, graphql_json_type, takes_html, weight_of
from gateway.operations import Refused, find_operation, run_operation
from gateway.pages import render_graphiql
from gateway.positions import position_of
from gateway.requests import OPERATION, RATE, REFUSED, accept_of, authenticate, query_of
from gateway.services import SERVICES
from gateway.streams.event_stream import MEDIA_TYPE as EVENTS
from gateway.streams.event_stream import serve_events
from gateway.streams.session import principal_of_session
from gateway.streams.websocket import serve_socket, wants_socket

_PARAMETERS: Final = ("query", "documentId", "operationName", "variables", "extensions")
_GET_ALONE: Final = "mutations are not allowed over GET: send them over POST"


async def _posted(request: web.Request) -> GraphQLRequest:
    return checked_request(await posted_json(request))


def _in_address(request: web.Request) -> GraphQLRequest:
    query = query_of(request)
    for name in _PARAMETERS:
        if len(query.getall(name, ())) > 1:
            msg = f"{name} must be given once"
            raise RequestError("BAD_USER_INPUT", msg)
    parameters: dict[str, object] = dict(query)
    for name in ("variables", "extensions"):
        if name in parameters:
            parameters[name] = parsed_json(query[name], name)
    return checked_request(parameters)


def _wants_page(request: web.Request) -> bool:
    return (
        request.method in {hdrs.METH_GET, hdrs.METH_HEAD}
        and not {"query", "documentId", "extensions"}.intersection(request.query)
        and takes_html(request.headers.get(hdrs.ACCEPT, ""))
    )


def _response(request: web.Request, body: dict[str, Any], *, executed: bool) -> web.Response:
    """`application/json` says 200 for whatever reached GraphQL; the newer type tells refusals by their status."""
    media_type = graphql_json_type(accept_of(request))
    status = 200 if executed or media_type == JSON else 400
    headers = {hdrs.CONTENT_TYPE: f"{media_type}; charset=utf-8", hdrs.CACHE_CONTROL: "no-store"}
    if any(error["extensions"]["code"] == "UNAVAILABLE" for error in body.get("errors", ())):
        headers[hdrs.RETRY_AFTER] = str(RETRY_SECONDS)
    return web.Response(body=orjson.dumps(body), status=status, headers=headers)


def _executed(request: web.Request, given: GraphQLRequest, kind: OperationType, body: dict[str, Any]) -> web.Response:
    """Clients keep no answer with errors, since what is refused now may be allowed at once afterwards, and none that
    tells what the key has left."""
    is_asked = request.method != hdrs.METH_POST and kind == OperationType.QUERY and given.names_document
    if not is_asked or given.wants_cost or "errors" in body:
        return _response(request, body, executed=True)
    max_age_seconds = request.app[SERVICES].settings.answer_max_age_seconds
    return cacheable(request, graphql_json_type(accept_of(request)), orjson.dumps(body), max_age_seconds)


def _check_method(request: web.Request, kind: OperationType) -> None:
    if request.method != hdrs.METH_POST and kind == OperationType.MUTATION:
        raise web.HTTPMethodNotAllowed(request.method, [hdrs.METH_POST], reason=_GET_ALONE)


@lru_cache(maxsize=256)
def _event_stream_weights(accept: str) -> tuple[float, float]:
    """Returns the weights of events, if they are named, and of JSON of either type."""
    weights = accepted(accept)
    return weights.get(EVENTS, 0.0), max(weight_of(one, weights) for one in (JSON, GRAPHQL_JSON))


def _is_streamed(request: web.Request, kind: OperationType | None) -> bool:
    """Some clients accept events with every request: they get events only for subscriptions, the rest as JSON."""
    events, json = _event_stream_weights(accept_of(request))
    wanted = events > json or (events > 0 and kind == OperationType.SUBSCRIPTION)
    return wanted and request.method != hdrs.METH_HEAD


async def _principal(request: web.Request) -> Principal:
    """Finds the principal by the key, or by the cookie if a browser asks for events."""
    has_key = hdrs.AUTHORIZATION in request.headers
    if not has_key and request.method == hdrs.METH_GET and _is_streamed(request, None):
        principal = await principal_of_session(request)
        if principal is not None:
            return principal
    return await authenticate(request)


async def graphql(request: web.Request) -> web.StreamResponse:
    if wants_socket(request):
        return await serve_socket(request)
    services = request.app[SERVICES]
    if _wants_page(request):
        if not services.settings.graphiql:
            raise web.HTTPNotFound
        return render_graphiql(request)
    principal = await _principal(request)
    given = await _posted(request) if request.method == hdrs.METH_POST else _in_address(request)
    request[OPERATION] = given.operation_name
    try:
        operation = await find_operation(services, principal, given)
        request[OPERATION] = operation.name
        _check_method(request, operation.kind)
        if not _is_streamed(request, operation.kind):
            answer = await run_operation(services, principal, operation, given, position_of(request))
            request[RATE] = answer.balance
            response = _executed(request, given, operation.kind, answer.body)
            # A mutation may answer with a key.
            return compressible(response) if operation.kind == OperationType.QUERY else response
    except Refused as refused:
        if not _is_streamed(request, None):
            request[REFUSED] = True
            return _response(request, {"errors": refused.errors}, executed=False)
        return await serve_events(request, principal, given, refused)
    return await serve_events(request, principal, given)
