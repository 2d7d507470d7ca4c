"""One operation, from its text to its answer, whatever transport brought it."""

from __future__ import annotations

from typing import Any, Final

from graphql import ExecutionResult, GraphQLError, OperationType

from access.keys import Principal
from execution.documents import Document, DocumentRefused, Operation
from execution.executor import run, run_by_reference
from gateway.errors import Problem, RequestError, extensions_of, problem_of
from gateway.graphql_request import GraphQLRequest
from gateway.logs import request_id
from gateway.requests import report
from gateway.services import Services
from resolvers.context import QueryContext
from resolvers.mutations.context import MutationContext

MAX_MESSAGE: Final = 500


class Refused(Exception):
    """Nothing was executed: the document, the name of the operation or its variables will not do."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__()
        self.errors = errors
        """As they go over the wire."""


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


def formatted_errors(services: Services, errors: list[GraphQLError], code: str) -> list[dict[str, Any]]:
    """As they go over the wire; counted, and logged where they are ours."""
    formatted = []
    for error in errors:
        problem = _problem(error, code)
        if problem.internal:
            report(problem, error.original_error or error)
        services.metrics.errors.labels(problem.code).inc()
        formatted.append(_formatted(error, problem))
    return formatted


def errors_of(services: Services, error: Exception) -> list[dict[str, Any]]:
    """As `formatted_errors`, of what was raised outside an execution."""
    problem = problem_of(error)
    report(problem, error)
    services.metrics.errors.labels(problem.code).inc()
    return [{"message": problem.message, "extensions": extensions_of(problem, request_id.get())}]


def find_operation(services: Services, given: GraphQLRequest) -> tuple[Document, Operation]:
    """Raises Refused."""
    try:
        document = services.documents.get(given.query)
        return document, document.operation(given.operation_name)
    except DocumentRefused as refused:
        raise Refused(formatted_errors(services, refused.errors, refused.refusal)) from refused
    except GraphQLError as error:
        raise Refused(formatted_errors(services, [error], "BAD_USER_INPUT")) from error


async def execute_operation(
    services: Services,
    principal: Principal,
    document: Document,
    operation: Operation,
    given: GraphQLRequest,
    source: object = None,
) -> ExecutionResult:
    """`source` is a subscription's event. A mutation's fields have transactions of their own.

    What one round trip answers needs no transaction to be of one moment: an operation that once took no more is
    expected to do so again, and run anew in a transaction where it does not.
    """
    executed = run if services.settings.compiled_execution else run_by_reference
    if operation.kind == OperationType.MUTATION:
        return await executed(
            services.documents.schema,
            document,
            operation_name=given.operation_name,
            variables=given.variables,
            context=MutationContext(services.ledger, principal, services.clock, services.top_ups),
        )
    for brief in (True, False) if operation.reads_once else (False,):
        async with services.database.snapshot(brief=brief) as snapshot:
            result = await executed(
                services.documents.schema,
                document,
                operation_name=given.operation_name,
                variables=given.variables,
                context=QueryContext(snapshot, principal, services.clock(), has_payments=services.top_ups.has_payments),
                source=source,
            )
        if not snapshot.inconsistent:
            break
        operation.reads_once = False
    if snapshot.reads <= 1 and not brief:
        operation.reads_once = True
    return result


async def run_operation(
    services: Services, principal: Principal, document: Document, operation: Operation, given: GraphQLRequest
) -> dict[str, Any]:
    """The answer of a query or mutation: its data, and its errors where it has some. Raises Refused, and RequestError
    for a subscription."""
    if operation.kind == OperationType.SUBSCRIPTION:
        raise RequestError("BAD_USER_INPUT", "a subscription requires a WebSocket, or Accept: text/event-stream")
    result = await execute_operation(services, principal, document, operation, given)
    errors = formatted_errors(services, result.errors, "BAD_USER_INPUT") if result.errors else []
    # Without data and without a path, the variables were refused: nothing was executed.
    if result.data is None and all(error.path is None for error in result.errors or ()):
        raise Refused(errors)
    return {"errors": errors, "data": result.data} if errors else {"data": result.data}
