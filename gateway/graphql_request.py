"""A client's GraphQL request, checked only for its shape."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import orjson

from gateway.errors import RequestError

_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class GraphQLRequest(NamedTuple):
    """One of `query`, `document_id` and `query_hash` is there, `query` and `query_hash` together if a text is
    registered."""

    query: str | None
    operation_name: str | None
    variables: dict[str, Any] | None
    wants_cost: bool = False
    """Whether the answer is to tell the cost, as `extensions.cost`."""
    document_id: str | None = None
    """Names a trusted document."""
    query_hash: str | None = None
    """Names a persisted query, by its SHA-256."""

    @property
    def names_document(self) -> bool:
        return self.document_id is not None or self.query_hash is not None


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
        raise RequestError("BAD_USER_INPUT", "the body must be a JSON object with the member query or documentId")
    query, name, variables = given.get("query"), given.get("operationName"), given.get("variables")
    if name is not None and not isinstance(name, str):
        raise RequestError("BAD_USER_INPUT", "operationName must be a string or null")
    if variables is not None and not isinstance(variables, dict):
        raise RequestError("BAD_USER_INPUT", "variables must be an object or null")
    extensions = given.get("extensions")
    if not isinstance(extensions, dict | None):
        raise RequestError("BAD_USER_INPUT", "extensions must be an object or null")
    extensions = extensions or {}
    document_id, query_hash = given.get("documentId"), _query_hash(extensions)
    _check_document(query, document_id, query_hash)
    return GraphQLRequest(query, name or None, variables, bool(extensions.get("cost")), document_id, query_hash)


def _check_document(query: object, document_id: object, query_hash: str | None) -> None:
    """Raises RequestError."""
    if document_id is None and (query is not None or query_hash is None):
        if not isinstance(query, str) or not query.strip():
            raise RequestError("BAD_USER_INPUT", "query must be a string")
    elif not isinstance(document_id, str | None):
        raise RequestError("BAD_USER_INPUT", "documentId must be a string or null")
    elif document_id is not None and (query is not None or query_hash is not None):
        raise RequestError("BAD_USER_INPUT", "documentId must not be combined with query or persistedQuery")


def _query_hash(extensions: dict[str, Any]) -> str | None:
    """Returns the hash of Apollo's `persistedQuery`, if it is given. Raises RequestError."""
    persisted = extensions.get("persistedQuery")
    if persisted is None:
        return None
    if not isinstance(persisted, dict) or persisted.get("version") != 1:
        raise RequestError("BAD_USER_INPUT", "extensions.persistedQuery must be an object of version 1")
    digest = persisted.get("sha256Hash")
    if not isinstance(digest, str) or _SHA256.fullmatch(digest) is None:
        raise RequestError("BAD_USER_INPUT", "extensions.persistedQuery.sha256Hash must be 64 hexadecimal digits")
    return digest
