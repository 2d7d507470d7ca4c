"""The description of the paths outside GraphQL, made of the tables that answer them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Final

import orjson
from aiohttp import web

from gateway import sign_in
from gateway.errors import STATUS
from gateway.requests import REQUEST_ID
from gateway.rest import export_links, transactions, usage
from gateway.rest.columns import Column
from gateway.rest.parameters import Parameter
from gateway.rest.reading import TICKET

PATH: Final = "/openapi.json"

Json = Mapping[str, Any]

_MEANINGS: Final = {
    "BAD_USER_INPUT": "a parameter that is unknown, missing, repeated or wrong; the message names it",
    "QUERY_TOO_COMPLEX": "the rows could not be read in time: narrow the filter",
    "UNAUTHENTICATED": "no key, or one that is malformed, unknown, expired or revoked",
    "FORBIDDEN": "neither from loopback nor with the token",
    "NOT_FOUND": "no such account or transaction, or none that the key covers",
    "PAYLOAD_TOO_LARGE": "a body that is too large",
    "UNSUPPORTED_MEDIA_TYPE": "a body that is no `application/json` in UTF-8",
    "INTERNAL": "a fault of this server; the requestId finds its cause in the log",
    "UNAVAILABLE": "the ledger cannot be reached at the moment: try again",
}
_OF_LEDGER: Final = (
    "BAD_USER_INPUT",
    "QUERY_TOO_COMPLEX",
    "UNAUTHENTICATED",
    "NOT_FOUND",
    "INTERNAL",
    "UNAVAILABLE",
)

_ERROR: Final[Json] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "requestId"],
            "properties": {
                "code": {"type": "string", "enum": list(STATUS)},
                "message": {"type": "string"},
                "requestId": {"type": "string", "description": f"The same as the header {REQUEST_ID}."},
            },
        }
    },
}
_REQUEST_ID: Final[Json] = {
    "description": "The request's id, taken from the request or made up.",
    "schema": {"type": "string"},
}


def _parameter(parameter: Parameter) -> Json:
    described: dict[str, Any] = {"name": parameter.name, "in": "query", "description": parameter.description}
    if not parameter.many:
        return {**described, "schema": parameter.schema, "example": parameter.example}
    return {
        **described,
        "description": f"{parameter.description} Repeated, or separated by commas; empty matches nothing.",
        "schema": {"type": "array", "items": parameter.schema},
        "style": "form",
        "explode": True,
        "allowEmptyValue": True,
        "example": parameter.example.split(","),
    }


def _columns(columns: Sequence[Column]) -> Json:
    return {
        "type": "object",
        "required": [column.name for column in columns],
        "properties": {
            column.name: {**column.schema, "description": f"{column.description} {_more(column)}".strip()}
            for column in columns
        },
    }


def _more(column: Column) -> str:
    return str(column.schema.get("description", ""))


def _answer(description: str, media_type: str, schema: Json, **headers: Json) -> Json:
    return {
        "description": description,
        "headers": {REQUEST_ID: {"$ref": "#/components/headers/RequestId"}, **headers},
        "content": {media_type: {"schema": schema}},
    }


def _problems(codes: Sequence[str]) -> dict[str, Json]:
    by_status: dict[str, list[str]] = {}
    for code in codes:
        by_status.setdefault(str(int(STATUS[code])), []).append(f"`{code}`: {_MEANINGS[code]}.")
    schema = {"$ref": "#/components/schemas/Error"}
    return {status: _answer(" ".join(lines), "application/json", schema) for status, lines in by_status.items()}


def _operation(
    name: str, summary: str, answer: Json, *, codes: Sequence[str] = (), security: Sequence[Json] = (), **more: Any
) -> Json:
    responses = {"200": answer, **_problems(codes)}
    return {"get": {"operationId": name, "summary": summary, **more, "security": security, "responses": responses}}


def _posted(name: str, summary: str, body: Json, answer: Json, codes: Sequence[str], security: Sequence[Json]) -> Json:
    content = {"application/json": {"schema": _object(body)}}
    responses = {"201": _answer("It was made.", "application/json", _object(answer)), **_problems(codes)}
    described = {"operationId": name, "summary": summary, "security": security, "responses": responses}
    return {"post": {**described, "requestBody": {"required": True, "content": content}}}


def _object(properties: Json) -> Json:
    return {
        "type": "object",
        "required": list(properties),
        "additionalProperties": False,
        "properties": {name: {"type": "string", "description": text} for name, text in properties.items()},
    }


def _export_links() -> Json:
    return _posted(
        "createExportLink",
        "A link that downloads an export without a key, for some minutes",
        {"address": "An export's path with its parameters, as it would be sent with a key."},
        {"address": "The path with a ticket in place of the parameters.", "expiresAt": "When it ends, in UTC."},
        (*_OF_LEDGER, "UNSUPPORTED_MEDIA_TYPE", "PAYLOAD_TOO_LARGE"),
        [{"key": []}],
    )


def _sign_in() -> Json:
    return _posted(
        "signIn",
        "A key for the code of a link that signs in to the console; each code is good once",
        {"code": "What the link has after `#code=`."},
        {"key": "An API key of the rights that the link was made for.", "expiresAt": "When it ends, in UTC."},
        (
            *("BAD_USER_INPUT", "UNAUTHENTICATED", "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"),
            *("INTERNAL", "UNAVAILABLE"),
        ),
        [],
    )


def _export(name: str, summary: str, columns: Sequence[Column], parameters: Sequence[Parameter], more: str) -> Json:
    names = ",".join(column.name for column in columns)
    text = f"RFC 4180 in UTF-8, with the header line `{names}`. Null is an empty cell."
    disposition = {"description": "Names the file.", "schema": {"type": "string"}}
    return _operation(
        name,
        summary,
        _answer(text, "text/csv", {"type": "string"}, **{"Content-Disposition": disposition}),
        description=f"Oldest first, streamed. {more} An export that fails midway breaks its connection off. Free text"
        " that a spreadsheet could take for a formula has an apostrophe before it.",
        parameters=[_parameter(parameter) for parameter in parameters],
        codes=_OF_LEDGER,
        security=[{"key": []}, {"ticket": []}],
    )


def _page() -> Json:
    link = {
        "description": 'Where there are older rows, their address, relative to this one: `<…>; rel="next"`.',
        "schema": {"type": "string"},
    }
    rows = {"type": "array", "items": {"$ref": "#/components/schemas/Transaction"}}
    return _operation(
        "listTransactions",
        "A page of the account's ledger, newest first",
        _answer("The page's rows.", "application/json", rows, Link=link),
        parameters=[_parameter(parameter) for parameter in transactions.PARAMETERS],
        codes=_OF_LEDGER,
        security=[{"key": []}],
    )


def _health(name: str, summary: str, *codes: str) -> Json:
    schema = {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}
    return _operation(name, summary, _answer("It is so.", "application/json", schema), codes=codes)


def openapi() -> Json:
    metrics = _answer("Prometheus' text format.", "text/plain", {"type": "string"})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Billing gateway",
            "version": version("billing-gateway"),
            "description": "The ledger and the usage over plain HTTP. Everything else is GraphQL, at `/graphql`.",
        },
        "servers": [{"url": "/"}],
        "paths": {
            transactions.PATH: _page(),
            transactions.EXPORT_PATH: _export(
                "exportTransactions",
                "The account's ledger as CSV",
                transactions.COLUMNS,
                transactions.EXPORT_PARAMETERS,
                "It ends with the row that was the newest when it began.",
            ),
            usage.EXPORT_PATH: _export(
                "exportUsage",
                "The account's usage by day and model as CSV",
                usage.COLUMNS,
                usage.EXPORT_PARAMETERS,
                "A day that is still being counted appears as it was when it was read.",
            ),
            export_links.PATH: _export_links(),
            sign_in.PATH: _sign_in(),
            "/healthz": _health("healthz", "The process runs"),
            "/readyz": _health(
                "readyz",
                "The database can be reached, and its tables and clock fit this process",
                "INTERNAL",
                "UNAVAILABLE",
            ),
            "/metrics": _operation(
                "metrics",
                "Metrics, for loopback or with the metrics' own token",
                metrics,
                codes=("UNAUTHENTICATED", "FORBIDDEN"),
                security=[{"metricsToken": []}, {}],
            ),
            PATH: _operation(
                "openapi",
                "This document",
                _answer("OpenAPI 3.1.", "application/json", {"type": "object"}),
            ),
        },
        "components": {
            "schemas": {"Transaction": _columns(transactions.COLUMNS), "Error": _ERROR},
            "headers": {"RequestId": _REQUEST_ID},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key: `eco_…`."},
                "ticket": {
                    "type": "apiKey",
                    "in": "query",
                    "name": TICKET,
                    "description": f"From `POST {export_links.PATH}`. It stands alone: the parameters are known by it.",
                },
                "metricsToken": {"type": "http", "scheme": "bearer", "description": "BILLING_METRICS_TOKEN."},
            },
        },
    }


@lru_cache(maxsize=1)
def _document() -> bytes:
    return orjson.dumps(openapi(), option=orjson.OPT_INDENT_2)


async def document(_request: web.Request) -> web.Response:
    return web.Response(body=_document(), content_type="application/json")
