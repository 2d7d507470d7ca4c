"""What a client asks for, checked for its shape alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from gateway.errors import RequestError


class GraphQLRequest(NamedTuple):
    query: str
    operation_name: str | None
    variables: dict[str, Any] | None
    wants_cost: bool = False
    """Whether the answer is to tell the cost, as `extensions.cost`."""


def parsed_json(text: bytes | str, what: str) -> object:
    """Raises RequestError, which names `what`."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        msg = f"invalid JSON in {what}: {error.msg}"
        raise RequestError("BAD_USER_INPUT", msg) from error


def checked_request(given: object) -> GraphQLRequest:
    """Raises RequestError."""
    if isinstance(given, list):
        raise RequestError("BAD_USER_INPUT", "batches are not supported: send one operation per request")
    if not isinstance(given, dict):
        raise RequestError("BAD_USER_INPUT", "the body must be a JSON object with the member query")
    query, name, variables = given.get("query"), given.get("operationName"), given.get("variables")
    if not isinstance(query, str) or not query.strip():
        raise RequestError("BAD_USER_INPUT", "query must be a string")
    if name is not None and not isinstance(name, str):
        raise RequestError("BAD_USER_INPUT", "operationName must be a string or null")
    if variables is not None and not isinstance(variables, dict):
        raise RequestError("BAD_USER_INPUT", "variables must be an object or null")
    extensions = given.get("extensions")
    if not isinstance(extensions, dict | None):
        raise RequestError("BAD_USER_INPUT", "extensions must be an object or null")
    return GraphQLRequest(query, name or None, variables, bool(extensions and extensions.get("cost")))
