"""Traces by OpenTelemetry: spans of HTTP requests, GraphQL operations, statements of the database and calls of Stripe.

Imported only if `BILLING_TRACING` is set. Spans have names, kinds, codes and costs: never variables, arguments, keys or
parameters of statements. Where they go is what the `OTEL_…` variables of OpenTelemetry's SDK say.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from aiohttp import web
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_SERVICE_NAME
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from yarl import URL

from db.connections.traced import Statement
from execution.documents import Operation
from gateway.logs import request_id, without_keys
from gateway.request_notes import error_codes, logged_name

NAME: Final = "billing-gateway"

_FAILURES: Final = frozenset({"INTERNAL", "UNAVAILABLE"})
"""Codes that are the gateway's fault, or the database's."""

_CONTEXT: Final = TraceContextTextMapPropagator()


def _note_code(span: Span, code: str) -> None:
    span.set_attribute("billing.code", code)
    if code in _FAILURES:
        span.set_status(StatusCode.ERROR, code)


class OperationSpan:
    """The span of an operation, which is told the cost and the errors of the answer."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def note_cost(self, cost: int) -> None:
        self._span.set_attribute("billing.cost", cost)

    def note_errors(self, errors: list[dict[str, Any]]) -> None:
        if errors:
            _note_code(self._span, errors[0]["extensions"]["code"])


class Tracing:
    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(NAME)

    def close(self) -> None:
        """Sends what was gathered. Waits for the receiver as long as the SDK's variables say."""
        self._provider.shutdown()

    @contextmanager
    def _span(self, name: str, **options: Any) -> Iterator[Span]:
        # An error's message may have what a client sent, or values of a row: only its class is told.
        with self._tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False, **options
        ) as span:
            try:
                yield span
            except BaseException as error:
                span.set_attribute("error.type", type(error).__qualname__)
                raise

    @contextmanager
    def request(self, request: web.Request, route: str) -> Iterator[Span]:
        """A span within the caller's trace, if `traceparent` names one. `end_request` ends it."""
        attributes = {
            "http.request.method": request.method,
            "url.path": without_keys(request.path),
            "http.route": route,
        }
        span = self._tracer.start_span(
            f"{request.method} {route}",
            context=_CONTEXT.extract(request.headers),
            kind=SpanKind.SERVER,
            attributes=attributes,
        )
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            yield span

    @contextmanager
    def operation(self, operation: Operation, text: str) -> Iterator[OperationSpan]:
        """A span within the request's; a trace of its own, with a link, if a stream's request was answered long ago."""
        kind, name = operation.kind.value, logged_name(operation.name)
        attributes = {
            "graphql.operation.type": kind,
            "graphql.document.sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
            **({} if name is None else {"graphql.operation.name": name}),
        }
        with self._span(f"{kind} {name or 'anonymous'}", attributes=attributes, **_parent()) as span:
            yield OperationSpan(span)

    @contextmanager
    def statement(self, statement: Statement) -> Iterator[None]:
        """A span only within another: what the process asks by itself is not traced."""
        if not trace.get_current_span().is_recording():
            yield
            return
        tables = {"db.collection.name": ", ".join(statement.tables)} if statement.tables else {}
        with self._span(
            " ".join((statement.kind, *statement.tables[:1])),
            kind=SpanKind.CLIENT,
            attributes={"db.system.name": statement.system, "db.operation.name": statement.kind, **tables},
        ):
            yield

    @contextmanager
    def call(self, method: str, url: str, headers: Mapping[str, str]) -> Iterator[dict[str, str]]:
        """A span for a call of another server, which is told of the trace by the headers that this gives."""
        server = URL(url)
        attributes = {"http.request.method": method.upper(), "server.address": server.host or ""}
        with self._span(f"{method.upper()} {server.host}", kind=SpanKind.CLIENT, attributes=attributes):
            carried = dict(headers)
            _CONTEXT.inject(carried)
            yield carried


def _parent() -> dict[str, Any]:
    current = trace.get_current_span()
    context = current.get_span_context()
    if current.is_recording() or not context.trace_flags.sampled:
        return {}
    return {"context": trace.set_span_in_context(trace.INVALID_SPAN), "links": [Link(context)]}


def end_request(span: Span, status: int) -> None:
    """Ends a request's span: when it is answered, or when a stream begins."""
    span.set_attributes({"http.response.status_code": status, "billing.request_id": request_id.get()})
    if codes := error_codes():
        _note_code(span, codes[0])
    span.end()


def open_tracing() -> Tracing:
    """Spans go to `OTEL_EXPORTER_OTLP_ENDPOINT`, and are sampled and gathered as the other variables say."""
    resource = Resource.create({SERVICE_NAME: os.environ.get(OTEL_SERVICE_NAME, NAME)})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)
