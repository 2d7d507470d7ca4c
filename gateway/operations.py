"""One operation, from its text to its answer, whatever transport brought it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from graphql import ExecutionResult, GraphQLError, OperationType

from access.keys import Principal
from db.connections.readers import Readers
from db.connections.replicas import SeenUntil
from db.connections.snapshots import Snapshot
from db.errors import AccountMoved, DatabaseError
from db.moved_accounts import MAX_TRIES
from db.replica_reads import replica_read
from execution.documents import DocumentRefused, Operation
from execution.executor import NotPrepared, Prepared, prepare, run_prepared, run_prepared_by_reference
from execution.introspection import asks_only_the_schema
from execution.slices import in_slices
from gateway.deadlines import deadline
from gateway.errors import Problem, RequestError, extensions_of, problem_of
from gateway.graphql_request import GraphQLRequest
from gateway.logs import request_id
from gateway.rates import Balance
from gateway.request_notes import count_error
from gateway.requests import report
from gateway.services import Services
from resolvers.context import QueryContext
from resolvers.mutations.context import MutationContext
from resolvers.shards import AccountRoutes
from schema.costs import WEIGHTS, document_points
from schema.federation import FEDERATED_WEIGHTS

MAX_MESSAGE: Final = 500

_SUGGESTION: Final = re.compile(r" Did you mean [^?]*\?")
"""Text that graphql-core adds to errors in variables, which it makes when an operation runs."""


class Refused(Exception):
    """The operation was not executed: the document, the operation name or the variables were refused."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__()
        self.errors = errors
        """Errors as they are sent to the client."""


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


def _message(services: Services, error: GraphQLError) -> str:
    hidden = not services.settings.suggestions
    return _shortened(_SUGGESTION.sub("", error.message) if hidden else error.message)


def _problem(services: Services, error: GraphQLError, code: str) -> Problem:
    """An error without a cause is graphql-core's own, about the input: `code` says of which kind."""
    cause = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    if cause is None:
        return Problem(code, _message(services, error))
    found = problem_of(cause)
    # A refusal of a value, wrapped: graphql-core's message names the variable or argument that has the value.
    return found if error.path is not None or found.internal else Problem(found.code, _message(services, error))


def formatted_errors(services: Services, errors: list[GraphQLError], code: str) -> list[dict[str, Any]]:
    """Returns the errors as they are sent to the client. Counts them, and logs internal ones."""
    formatted = []
    for error in errors:
        problem = _problem(services, error, code)
        if problem.internal:
            report(problem, error.original_error or error)
        count_error(services.metrics, problem.code)
        formatted.append(_formatted(error, problem))
    return formatted


def errors_of(services: Services, error: Exception) -> list[dict[str, Any]]:
    """Does the same as `formatted_errors` for an error that was raised outside an execution."""
    problem = problem_of(error)
    report(problem, error)
    count_error(services.metrics, problem.code)
    return [{"message": problem.message, "extensions": extensions_of(problem, request_id.get())}]


def _text_of(services: Services, given: GraphQLRequest) -> str:
    """Raises Refused."""
    try:
        return services.document_texts.text_of(given)
    except RequestError as error:
        raise Refused(errors_of(services, error)) from error


async def find_operation(services: Services, principal: Principal, given: GraphQLRequest) -> Operation:
    """A document that this process does not know costs points, valid or not. Raises Refused, and what `Admission`
    raises."""
    text = _text_of(services, given)
    if not services.documents.knows(text):
        await services.admission.spend(principal, document_points(len(text)))
    try:
        document = await services.documents.find(text)
        services.document_texts.register(given)
        return document.operation(given.operation_name)
    except DocumentRefused as refused:
        raise Refused(formatted_errors(services, refused.errors, refused.refusal)) from refused
    except GraphQLError as error:
        raise Refused(formatted_errors(services, [error], "BAD_USER_INPUT")) from error


async def prepare_operation(
    services: Services, principal: Principal, operation: Operation, given: GraphQLRequest
) -> Prepared:
    """Checks the variables, and works out the cost. Raises Refused."""

    def prepared() -> Prepared:
        return prepare(
            services.documents.schema,
            operation,
            given.variables,
            weights=FEDERATED_WEIGHTS if services.settings.federation else WEIGHTS,
            account_rows=max(services.sizes.rows(principal.account_id), principal.account_rows),
        )

    try:
        if operation.is_planned:
            return prepared()
        async with operation.planning:
            return await in_slices(prepared)
    except NotPrepared as refused:
        errors = formatted_errors(services, refused.errors, "BAD_USER_INPUT")
    # Not within `except`: the variables, which may be large, would live as long as the refusal.
    raise Refused(errors)


async def execute_operation(
    services: Services,
    principal: Principal,
    prepared: Prepared,
    source: object = None,
    *,
    seen: SeenUntil | None = None,
) -> ExecutionResult:
    """`source` is a subscription's event. A mutation's fields have transactions of their own.

    `seen` lets a query read from a replica. If its answer has errors, the primary answers: the replica may be away, or
    lack what the query names.
    """
    of_key = services.of(principal)
    if prepared.operation.kind == OperationType.MUTATION:
        services = of_key
        writing = MutationContext(
            services.ledger,
            principal,
            services.clock,
            services.top_ups,
            services.metering,
            services.settings.public_url or "",
            services.database if services.others else None,
        )
        return await _executed(services, prepared, writing)
    result = await _queried_on_replica(of_key, principal, prepared, source, seen)
    if result is not None:
        return result
    for _ in range(MAX_TRIES):
        of_key = services.of(principal)
        routes = of_key.routes(principal)
        result = await _queried(of_key, principal, prepared, source, routes=routes)
        if routes is None or await _is_confirmed(routes, result):
            return result
    raise AccountMoved("an account was moved each time it was read")


async def _is_confirmed(routes: AccountRoutes, result: ExecutionResult) -> bool:
    try:
        return await routes.confirm()
    except DatabaseError:
        # A shard is away: what was to be read there has failed, too, and the rest is told.
        if any(isinstance(error.original_error, DatabaseError) for error in result.errors or ()):
            return True
        raise


async def _queried_on_replica(
    services: Services, principal: Principal, prepared: Prepared, source: object, seen: SeenUntil | None
) -> ExecutionResult | None:
    """Returns None if the primary must answer."""
    replica = replica_read(services.database, principal.account_id, seen)
    if replica is None:
        return None
    result = await _queried(services, principal, prepared, source, replica.readers)
    for error in result.errors or ():
        if error.original_error is not None:
            replica.leave_out(error.original_error)
    return result if not result.errors and replica.counts else None


async def _queried(
    services: Services,
    principal: Principal,
    prepared: Prepared,
    source: object,
    on: Readers[Any] | None = None,
    *,
    routes: AccountRoutes | None = None,
) -> ExecutionResult:
    """Runs an operation in one moment of the database. What one round trip answers needs no transaction for that: an
    operation that once took no more is expected to do so again, and run anew in a transaction where it does not."""
    operation = prepared.operation
    if services.others:
        return await _queried_on_shards(services, principal, prepared, source, routes)
    for brief in (True, False) if operation.reads_once else (False,):
        async with services.database.snapshot(brief=brief, on=on) as snapshot:
            result = await _executed(services, prepared, _reading(services, principal, snapshot), source)
        if not snapshot.inconsistent:
            break
        operation.reads_once = False
    if snapshot.reads <= 1 and not brief:
        operation.reads_once = True
    return result


async def _queried_on_shards(
    services: Services, principal: Principal, prepared: Prepared, source: object, routes: AccountRoutes | None
) -> ExecutionResult:
    """Runs an operation in one moment of each shard that it reads."""
    async with services.snapshots() as (snapshot, *others):
        return await _executed(services, prepared, _reading(services, principal, snapshot, others, routes), source)


def _reading(
    services: Services,
    principal: Principal,
    snapshot: Snapshot,
    others: Sequence[Snapshot] = (),
    routes: AccountRoutes | None = None,
) -> QueryContext:
    return QueryContext(
        snapshot,
        principal,
        services.clock(),
        has_payments=services.top_ups.has_payments,
        sizes=services.sizes,
        others=others,
        routes=routes,
    )


async def _executed(
    services: Services, prepared: Prepared, context: QueryContext, source: object = None
) -> ExecutionResult:
    executed = run_prepared if services.settings.compiled_execution else run_prepared_by_reference
    return await executed(services.documents.schema, prepared, context=context, source=source)


class Answer(NamedTuple):
    body: dict[str, Any]
    balance: Balance
    """Points that the key may still spend."""
    cost: int


async def run_operation(
    services: Services,
    principal: Principal,
    operation: Operation,
    given: GraphQLRequest,
    seen: SeenUntil | None = None,
) -> Answer:
    """Answers a query or mutation: its data, and its errors where it has some. With `seen`, a replica may answer a
    query. Raises Refused, RequestError for a subscription or when the time of an operation is up, and what `Admission`
    raises."""
    if services.tracing is None:
        return await _answered(services, principal, operation, given, seen)
    with services.tracing.operation(operation, _text_of(services, given)) as span:
        try:
            answer = await _answered(services, principal, operation, given, seen)
        except Refused as refused:
            span.note_errors(refused.errors)
            raise
        span.note_cost(answer.cost)
        span.note_errors(answer.body.get("errors", []))
        return answer


async def _answered(
    services: Services, principal: Principal, operation: Operation, given: GraphQLRequest, seen: SeenUntil | None
) -> Answer:
    if operation.kind == OperationType.SUBSCRIPTION:
        raise RequestError("BAD_USER_INPUT", "a subscription requires a WebSocket, or Accept: text/event-stream")
    of_the_schema = asks_only_the_schema(operation)
    kept = services.schema_answers.find(operation) if of_the_schema else None
    if kept is not None:
        cost = math.ceil(WEIGHTS.operation)
        return _answer(given, {"data": kept}, cost, await services.admission.spend(principal, cost))
    prepared = await prepare_operation(services, principal, operation, given)
    balance = await services.admission.spend(principal, prepared.cost)
    seconds = services.settings.operation_timeout_seconds
    if operation.kind == OperationType.MUTATION:
        async with deadline(seconds, writes=True):
            result = await execute_operation(services, principal, prepared)
    else:
        async with services.admission.slot(principal, prepared.cost), deadline(seconds):
            result = await execute_operation(services, principal, prepared, seen=seen)
    errors = formatted_errors(services, result.errors, "BAD_USER_INPUT") if result.errors else []
    # Without data and without a path, the arguments were refused: nothing was executed.
    if result.data is None and all(error.path is None for error in result.errors or ()):
        raise Refused(errors)
    if of_the_schema and not errors:
        services.schema_answers.keep(operation, result.data)
    body = {"errors": errors, "data": result.data} if errors else {"data": result.data}
    return _answer(given, body, prepared.cost, balance)


def _answer(given: GraphQLRequest, body: dict[str, Any], cost: int, balance: Balance) -> Answer:
    if given.wants_cost:
        body["extensions"] = {"cost": _told(cost, balance)}
    return Answer(body, balance, cost)


def _told(cost: int, balance: Balance) -> dict[str, Any]:
    rate = balance.rate
    return {
        "points": cost,
        "remaining": int(balance.remaining),
        "pointsPerSecond": int(rate.points_per_second),
        "burst": int(rate.burst),
    }
