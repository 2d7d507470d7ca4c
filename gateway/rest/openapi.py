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
from gateway.readiness import CHECKS, PURPOSES
from gateway.requests import REQUEST_ID
from gateway.rest import export_links, statements, transactions, usage, usage_hours, usage_requests
from gateway.rest.columns import Column
from gateway.rest.parameters import Parameter
from gateway.rest.reading import TOKEN
from resolvers.reads.statements import MAX_DAYS

PATH: Final = "/openapi.json"

Json = Mapping[str, Any]

_MEANINGS: Final = {
    "BAD_USER_INPUT": "a parameter is unknown, missing, repeated or invalid; the message names the parameter",
    "QUERY_TOO_COMPLEX": "reading the rows took too long, or a PDF would have too many of them; narrow the filter"
    " or the period",
    "UNAUTHENTICATED": "the API key is missing, malformed, unknown, expired or revoked",
    "FORBIDDEN": "the API key is not allowed from the client's address; for /metrics, the request has no valid token"
    " and is not from loopback",
    "NOT_FOUND": "the account, transaction or request does not exist, or the API key does not cover it",
    "PAYLOAD_TOO_LARGE": "the request body is too large",
    "REQUEST_TIMEOUT": "the request body did not arrive in time",
    "UNSUPPORTED_MEDIA_TYPE": "the request body is not `application/json` in UTF-8",
    "RATE_LIMITED": "the API key has spent its points; try again after the seconds in `Retry-After`",
    "INTERNAL": "the server failed; find the cause in the log by the requestId",
    "UNAVAILABLE": "the ledger cannot be reached, or too much is in progress; try again",
}
_OF_LEDGER: Final = (
    "BAD_USER_INPUT",
    "QUERY_TOO_COMPLEX",
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "NOT_FOUND",
    "RATE_LIMITED",
    "INTERNAL",
    "UNAVAILABLE",
)

_WITH_TOKEN: Final[Sequence[Json]] = ({"key": []}, {"token": []})

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
                "requestId": {"type": "string", "description": f"The request's id, as in the header {REQUEST_ID}."},
            },
        }
    },
}
_REQUEST_ID: Final[Json] = {
    "description": "The request's id: taken from the request, or generated.",
    "schema": {"type": "string"},
}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {"name": parameter.name, "in": "query", "description": parameter.description}
    if not parameter.many:
        return {**described, "schema": parameter.schema, "example": parameter.example}
    return {
        **described,
        "description": f"{parameter.description} Can be repeated or separated by commas. An empty value matches"
        " nothing.",
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
    responses = {"201": _answer("The resource was created.", "application/json", _object(answer)), **_problems(codes)}
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
        "Create a link that downloads an export without a key, valid for some minutes",
        {"address": "Path of the export with its parameters, as sent with a key."},
        {
            "address": "Path of the export with a token in place of the parameters.",
            "expiresAt": "When the link expires, in UTC.",
        },
        (*_OF_LEDGER, "UNSUPPORTED_MEDIA_TYPE", "PAYLOAD_TOO_LARGE"),
        [{"key": []}],
    )


def _sign_in() -> Json:
    return _posted(
        "signIn",
        "Exchange the code of a console sign-in link for an API key; each code works once",
        {"code": "The code: the part of the link after `#code=`."},
        {
            "key": "An API key with the rights that the link was created for.",
            "expiresAt": "When the key expires, in UTC.",
        },
        (
            *("BAD_USER_INPUT", "UNAUTHENTICATED", "FORBIDDEN", "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"),
            *("INTERNAL", "UNAVAILABLE"),
        ),
        [],
    )


def _header(columns: Sequence[Column]) -> str:
    return ",".join(column.name for column in columns)


def _export(name: str, summary: str, columns: Sequence[Column], parameters: Sequence[Parameter], more: str) -> Json:
    text = f"RFC 4180 in UTF-8, with the header line `{_header(columns)}`. An empty cell means null."
    return _operation(
        name,
        summary,
        _answer(text, "text/csv", {"type": "string"}, **{"Content-Disposition": _DISPOSITION}),
        description=f"Streams the rows, oldest first. {more} If an export fails midway, the connection is aborted."
        " Free text that a spreadsheet could read as a formula starts with an apostrophe.",
        parameters=[_parameter(parameter) for parameter in parameters],
        codes=_OF_LEDGER,
        security=_WITH_TOKEN,
    )


_DISPOSITION: Final[Json] = {"description": "Name of the file.", "schema": {"type": "string"}}
_OF_STATEMENT: Final = (
    "A row counts on the day on which it was recorded. A period has 1 to"
    f" {MAX_DAYS} days. Once `is_final` is true, the statement never changes. No tax is computed."
)


def _statement_operation(
    name: str,
    summary: str,
    answer: Json,
    more: str,
    security: Sequence[Json],
    taken: Sequence[Parameter] = statements.PDF_PARAMETERS,
) -> Json:
    parameters = [_parameter(parameter) for parameter in taken]
    for parameter in parameters[1:3]:
        parameter["required"] = True
    return _operation(
        name,
        summary,
        answer,
        description=f"{more} {_OF_STATEMENT}",
        parameters=parameters,
        codes=_OF_LEDGER,
        security=security,
    )


def _statement() -> Json:
    answer = _answer("The statement.", "application/json", {"$ref": "#/components/schemas/Statement"})
    text = {"schema": {"type": "string"}}
    content = {**answer["content"], statements.CSV: text, statements.PDF_TYPE: text}
    return _statement_operation(
        "getStatement",
        "Get the statement of a period, in the type that `Accept` names",
        {**answer, "content": content},
        "The JSON object has the figures. The CSV and PDF files are those of the other two paths.",
        [{"key": []}],
    )


def _statement_csv() -> Json:
    text = f"RFC 4180 in UTF-8, with the header line `{_header(transactions.COLUMNS)}`. An empty cell means null."
    answer = _answer(text, statements.CSV, {"type": "string"}, **{"Content-Disposition": _DISPOSITION})
    more = "Streams the rows of the period, oldest first, as `/billing/transactions.csv` does."
    summary = "Export the rows of a period as CSV"
    return _statement_operation("exportStatement", summary, answer, more, _WITH_TOKEN, statements.PARAMETERS)


def _statement_pdf() -> Json:
    answer = _answer("A PDF file.", statements.PDF_TYPE, {"type": "string"}, **{"Content-Disposition": _DISPOSITION})
    more = (
        f"The figures and all rows, oldest first: at most {statements.MAX_PDF_ROWS} rows. About a second for each"
        " 1,000 rows. For each key and each account, one PDF is made at a time."
    )
    return _statement_operation("getStatementPdf", "Get the statement of a period as PDF", answer, more, _WITH_TOKEN)


def _single_request() -> Json:
    request = {"$ref": "#/components/schemas/UsageRequest"}
    by_id = {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "The request's own id, as its service or its log gave it; write `/` as `%2F`.",
        "schema": usage_requests.ID_SCHEMA,
        "example": "req_5f2a",
    }
    return _operation(
        "getUsageRequest",
        "Get a single request with its cost and price",
        _answer("The request.", "application/json", request),
        description="Requests are kept for a number of days that the operator sets, 35 by default.",
        parameters=[by_id, *(_parameter(parameter) for parameter in usage_requests.PARAMETERS)],
        codes=_OF_LEDGER,
        security=[{"key": []}],
    )


def _page() -> Json:
    link = {
        "description": 'Relative URL of the next page, if there are older rows: `<…>; rel="next"`.',
        "schema": {"type": "string"},
    }
    rows = {"type": "array", "items": {"$ref": "#/components/schemas/Transaction"}}
    return _operation(
        "listTransactions",
        "List a page of the account's ledger rows, newest first",
        _answer("The rows of the page.", "application/json", rows, Link=link),
        parameters=[_parameter(parameter) for parameter in transactions.PARAMETERS],
        codes=_OF_LEDGER,
        security=[{"key": []}],
    )


def _health(name: str, summary: str, *codes: str) -> Json:
    schema = {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}
    return _operation(name, summary, _answer("The check passed.", "application/json", schema), codes=codes)


def _ready() -> Json:
    checked = {name: {"type": "string"} for name in (*CHECKS, "clock")}
    schema = {
        "type": "object",
        "required": ["status", "reads", "writes", "checks"],
        "properties": {
            "status": {"const": "ok"},
            "message": {"type": "string", "description": "A condition that an operator should know of."},
            "reads": {"type": "boolean", "description": "Whether queries and exports can be answered."},
            "writes": {"type": "boolean", "description": "Whether mutations can be answered too."},
            "checks": {
                "type": "object",
                "description": "For each check `ok`, `unknown`, or what is wrong.",
                "required": list(checked),
                "properties": checked,
            },
        },
    }
    return _operation(
        "readyz",
        "Check that the database can be read and written, and that its tables and clock fit this process",
        _answer("The check passed.", "application/json", schema),
        parameters=[
            {
                "name": "for",
                "in": "query",
                "description": "What must work for status 200. With `reads`, the database need not accept writes.",
                "schema": {"type": "string", "enum": list(PURPOSES), "default": PURPOSES[0]},
            }
        ],
        codes=("BAD_USER_INPUT", "INTERNAL", "UNAVAILABLE"),
    )


def openapi() -> Json:
    metrics = _answer("Metrics in the Prometheus text format.", "text/plain", {"type": "string"})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Billing gateway",
            "version": version("billing-gateway"),
            "description": "The ledger and the usage over plain HTTP. Everything else is in GraphQL, at `/graphql`.",
        },
        "servers": [{"url": "/"}],
        "paths": {
            transactions.PATH: _page(),
            transactions.EXPORT_PATH: _export(
                "exportTransactions",
                "Export the account's ledger as CSV",
                transactions.COLUMNS,
                transactions.EXPORT_PARAMETERS,
                "The export ends with the row that was the newest when the export began.",
            ),
            usage.EXPORT_PATH: _export(
                "exportUsage",
                "Export the account's usage by day and model as CSV",
                usage.COLUMNS,
                usage.EXPORT_PARAMETERS,
                "Usage of a day that is still being counted is exported as it was when the day was read. With"
                f" `by=hour`, the header line is `{_header(usage_hours.COLUMNS)}`.",
            ),
            statements.PATH: _statement(),
            statements.EXPORT_PATH: _statement_csv(),
            statements.PDF_PATH: _statement_pdf(),
            usage_requests.PATH: _single_request(),
            export_links.PATH: _export_links(),
            sign_in.PATH: _sign_in(),
            "/healthz": _health("healthz", "Check that the process is running"),
            "/readyz": _ready(),
            "/metrics": _operation(
                "metrics",
                "Get metrics, from loopback or with the metrics token",
                metrics,
                codes=("UNAUTHENTICATED", "FORBIDDEN"),
                security=[{"metricsToken": []}, {}],
            ),
            PATH: _operation(
                "openapi",
                "Get this document",
                _answer("The OpenAPI 3.1 document.", "application/json", {"type": "object"}),
            ),
        },
        "components": {
            "schemas": {
                "Transaction": _columns(transactions.COLUMNS),
                "Statement": _columns(statements.COLUMNS),
                "StatementMovement": _columns(statements.MOVEMENT_COLUMNS),
                "UsageRequest": _columns(usage_requests.COLUMNS),
                "Error": _ERROR,
            },
            "headers": {"RequestId": _REQUEST_ID},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key: `eco_…`."},
                "token": {
                    "type": "apiKey",
                    "in": "query",
                    "name": TOKEN,
                    "description": f"A token from `POST {export_links.PATH}`. It replaces all other parameters, which"
                    " the server keeps with the token.",
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
