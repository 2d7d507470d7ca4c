"""GraphQL over HTTP: one request, one operation, one snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson
from aiohttp import hdrs, web
from graphql import ExecutionResult, GraphQLError, OperationType

from execution.documents import Document, DocumentRefused, Operation
from execution.run import run, run_by_reference
from gateway.errors import Problem, RequestError, extensions_of, problem_of
from gateway.logs import request_id
from gateway.media_types import accepted, weight_of
from gateway.pages import render_graphiql
from gateway.parts import PARTS, Parts
from gateway.requests import OPERATION, authenticate, query_of, read_body, report
from ledger.keys import Principal
from resolvers.context import Reads

GRAPHQL_JSON: Final = "application/graphql-response+json"
JSON: Final = "application/json"
MAX_MESSAGE: Final = 500

_PARAMETERS: Final = ("query", "operationName", "variables", "extensions")
_GET_ALONE: Final = "this path answers queries over GET; send mutations over POST"


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    query: str
    operation_name: str | None
    variables: dict[str, Any] | None


def _checked(given: object) -> GraphQLRequest:
    if isinstance(given, list):
        raise RequestError("BAD_USER_INPUT", "batches are not supported: send one operation a request")
    if not isinstance(given, dict):
        raise RequestError("BAD_USER_INPUT", "the body must be a JSON object with the member query")
    query, name, variables = given.get("query"), given.get("operationName"), given.get("variables")
    if not isinstance(query, str) or not query.strip():
        raise RequestError("BAD_USER_INPUT", "query must be a document's text")
    if name is not None and not isinstance(name, str):
        raise RequestError("BAD_USER_INPUT", "operationName must be a string or null")
    if variables is not None and not isinstance(variables, dict):
        raise RequestError("BAD_USER_INPUT", "variables must be an object or null")
    if not isinstance(given.get("extensions"), dict | None):
        raise RequestError("BAD_USER_INPUT", "extensions must be an object or null")
    return GraphQLRequest(query, name or None, variables)


def _parsed(text: bytes | str, what: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        msg = f"{what} is not JSON that can be read: {error.msg}"
        raise RequestError("BAD_USER_INPUT", msg) from error


async def _posted(request: web.Request) -> GraphQLRequest:
    if request.content_type != JSON or (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        msg = f"the body must be {JSON} in UTF-8, not {request.headers.get(hdrs.CONTENT_TYPE, 'of no type')[:100]}"
        raise RequestError("UNSUPPORTED_MEDIA_TYPE", msg)
    return _checked(_parsed(await read_body(request), "the body"))


def _in_address(request: web.Request) -> GraphQLRequest:
    query = query_of(request)
    for name in _PARAMETERS:
        if len(query.getall(name, ())) > 1:
            msg = f"{name} must be given once"
            raise RequestError("BAD_USER_INPUT", msg)
    parameters: dict[str, object] = dict(query)
    for name in ("variables", "extensions"):
        if name in parameters:
            parameters[name] = _parsed(query[name], name)
    return _checked(parameters)


def _wants_page(request: web.Request) -> bool:
    return (
        request.method in {hdrs.METH_GET, hdrs.METH_HEAD}
        and "query" not in request.query
        and accepted(request.headers.get(hdrs.ACCEPT, "")).get("text/html", 0) > 0
    )


@lru_cache(maxsize=256)
def _media_type(accept: str) -> str:
    """The newer type is for those who name it: whoever takes anything gets the one that every client knows."""
    weights = accepted(accept)
    newer, known = weight_of(GRAPHQL_JSON, weights), weight_of(JSON, weights)
    preferred = newer > known or (newer == known > 0 and GRAPHQL_JSON in weights)
    return GRAPHQL_JSON if preferred else JSON


def _response(request: web.Request, body: dict[str, Any], *, executed: bool) -> web.Response:
    """`application/json` says 200 for whatever reached GraphQL; the newer type tells refusals by their status."""
    media_type = _media_type(",".join(request.headers.getall(hdrs.ACCEPT, ())))
    status = 200 if executed or media_type == JSON else 400
    headers = {hdrs.CONTENT_TYPE: f"{media_type}; charset=utf-8", hdrs.CACHE_CONTROL: "no-store"}
    return web.Response(body=orjson.dumps(body), status=status, headers=headers)


def _formatted(error: GraphQLError, problem: Problem) -> dict[str, Any]:
    formatted: dict[str, Any] = {"message": problem.message}
    if error.locations:
        formatted["locations"] = [location.formatted for location in error.locations]
    if error.path is not None:
        formatted["path"] = error.path
    formatted["extensions"] = extensions_of(problem, request_id.get())
    return formatted


def _shortened(message: str) -> str:
    """graphql-core's messages repeat what was given, however long."""
    return message if len(message) <= MAX_MESSAGE else message[:MAX_MESSAGE] + "…"


def _problem(error: GraphQLError, code: str) -> Problem:
    """An error without a cause is graphql-core's own, about the input: `code` says of which kind."""
    cause = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    if cause is None:
        return Problem(code, _shortened(error.message))
    found = problem_of(cause)
    # A value's own refusal, wrapped: graphql-core's message names the variable or argument that it was given for.
    return found if error.path is not None or found.internal else Problem(found.code, _shortened(error.message))


def _errors(parts: Parts, errors: list[GraphQLError], code: str) -> list[dict[str, Any]]:
    formatted = []
    for error in errors:
        problem = _problem(error, code)
        if problem.internal:
            report(problem, error.original_error or error)
        parts.metrics.errors.labels(problem.code).inc()
        formatted.append(_formatted(error, problem))
    return formatted


def _check_method(request: web.Request, kind: OperationType) -> None:
    if request.method != hdrs.METH_POST and kind != OperationType.QUERY:
        raise web.HTTPMethodNotAllowed(request.method, [hdrs.METH_POST], reason=_GET_ALONE)


async def _executed(
    parts: Parts, principal: Principal, document: Document, operation: Operation, given: GraphQLRequest
) -> ExecutionResult:
    """What one round trip answers needs no transaction to be of one moment: an operation that once took no more is
    expected to do so again, and run anew in a transaction where it does not."""
    executed = run if parts.settings.compiled_execution else run_by_reference
    for brief in (True, False) if operation in parts.brief_operations else (False,):
        async with parts.database.snapshot(brief=brief) as snapshot:
            result = await executed(
                parts.documents.schema,
                document,
                operation_name=given.operation_name,
                variables=given.variables,
                context=Reads(snapshot, principal, parts.clock()),
            )
        if not snapshot.torn:
            break
        parts.brief_operations.discard(operation)
    if snapshot.reads <= 1:
        parts.brief_operations.add(operation)
    return result


async def graphql(request: web.Request) -> web.StreamResponse:
    if _wants_page(request):
        return render_graphiql(request)
    parts = request.app[PARTS]
    principal = await authenticate(request)
    given = await _posted(request) if request.method == hdrs.METH_POST else _in_address(request)
    if given.operation_name is not None:
        request[OPERATION] = given.operation_name
    try:
        document = parts.documents.get(given.query)
        operation = document.operation(given.operation_name)
    except DocumentRefused as refused:
        errors = _errors(parts, refused.errors, refused.refusal)
        return _response(request, {"errors": errors}, executed=False)
    except GraphQLError as error:
        return _response(request, {"errors": _errors(parts, [error], "BAD_USER_INPUT")}, executed=False)
    _check_method(request, operation.kind)
    result = await _executed(parts, principal, document, operation, given)
    body: dict[str, Any] = {}
    if result.errors:
        body["errors"] = _errors(parts, result.errors, "BAD_USER_INPUT")
    # Without data and without a path, the variables were refused: nothing was executed.
    executed = result.data is not None or any(error.path is not None for error in result.errors or ())
    if executed:
        body["data"] = result.data
    return _response(request, body, executed=executed)
