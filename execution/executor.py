"""Executor: executes one operation of a checked document."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from inspect import isawaitable
from typing import Any, NamedTuple

from graphql import ExecutionResult, GraphQLError, GraphQLObjectType, GraphQLSchema, OperationType, execute
from graphql.execution.collect_fields import FieldDetails
from graphql.execution.values import VariableValues
from graphql.pyutils import Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from execution.costs import PlanCost, Weights
from execution.documents import Definitions, Document, Operation
from execution.operation_run import Run, around_field, is_pending
from execution.plans import Plan


class ReferenceExecutor(StrawberryGraphQLCoreExecutionContext):
    """graphql-core's executor. Runs each field of a mutation inside the context's `around_field`."""

    def execute_field(
        self, parent_type: GraphQLObjectType, source: Any, details: list[FieldDetails], path: Path, position: Any
    ) -> Any:
        if path.prev is None and self.operation.operation == OperationType.MUTATION:
            return self._executed_within(parent_type, source, details, path, position)
        return super().execute_field(parent_type, source, details, path, position)

    async def _executed_within(
        self, parent_type: GraphQLObjectType, source: Any, details: list[FieldDetails], path: Path, position: Any
    ) -> Any:
        try:
            async with around_field(self.context_value):
                value = super().execute_field(parent_type, source, details, path, position)
                return await value if isawaitable(value) else value
        except Exception as error:  # noqa: BLE001  the error of the field or of its context manager
            field = self.schema.get_field(parent_type, details[0].node.name.value)
            assert field is not None, "the document is valid"
            return self.handle_field_error(error, field.type, details, path)


class Prepared(NamedTuple):
    """An operation that is ready to run. Its variables are checked and its cost is known."""

    operation: Operation
    given: Mapping[str, Any]
    """The variables as received."""
    variables: VariableValues
    plan: Plan | None
    """None if graphql-core's own executor is to run the operation."""
    arguments: dict[object, Mapping[str, Any]]
    """Arguments that were computed from variables to determine the cost."""
    cost: int
    """Points; 0 without weights."""


class NotPrepared(Exception):
    """The operation cannot run, because its name or its variables are invalid."""

    def __init__(self, errors: Sequence[GraphQLError]) -> None:
        super().__init__()
        self.errors = list(errors)


def prepare(
    schema: GraphQLSchema,
    operation: Operation,
    variables: dict[str, Any] | None,
    *,
    weights: Weights | None = None,
    account_rows: int = 0,
) -> Prepared:
    """Prepares an operation. `account_rows` is the number of rows of the account, for the cost of a scan.

    Raises NotPrepared.
    """
    given = variables or {}
    try:
        values = operation.variables(schema).values(given)
        if isinstance(values, list):
            raise NotPrepared(values)
        if operation.has_null_condition(values):
            return Prepared(operation, given, values, None, {}, math.ceil(weights.operation if weights else 0))
        plan = operation.plan(schema, values)
    except GraphQLError as error:
        raise NotPrepared([error]) from error
    arguments: dict[object, Mapping[str, Any]] = {}
    cost = 0
    if weights is not None:
        if plan.cost is None:
            plan.cost = PlanCost(plan, weights)
        run = Run(schema, operation.document.fragments, operation.definition, values, None, arguments)
        cost = plan.cost.points(run, account_rows)
    return Prepared(operation, given, values, plan, arguments, cost)


async def run_prepared(
    schema: GraphQLSchema, prepared: Prepared, *, context: object, source: object = None
) -> ExecutionResult:
    """Runs an operation. `source` is the value of the root fields' parent: a subscription's event."""
    operation, plan = prepared.operation, prepared.plan
    if plan is None:
        return await run_prepared_by_reference(schema, prepared, context=context, source=source)
    fragments = operation.document.fragments
    running = Run(schema, fragments, operation.definition, prepared.variables, context, prepared.arguments)
    data: Any = None
    try:
        if plan.prefetches:
            await plan.prefetch(running)
        data = plan.execute(running, source)
        if is_pending(data):
            data = await data
    except GraphQLError as error:
        data = None
        running.reference.collected_errors.add(error, None)
    finally:
        running.close()
    return ExecutionResult(data, running.errors)


async def run_prepared_by_reference(
    schema: GraphQLSchema, prepared: Prepared, *, context: object, source: object = None
) -> ExecutionResult:
    """Runs a prepared operation with graphql-core's own executor."""
    operation = prepared.operation
    return await run_by_reference(
        schema,
        operation.document,
        operation_name=operation.name,
        variables=dict(prepared.given),
        context=context,
        source=source,
    )


async def run(
    schema: GraphQLSchema,
    document: Document,
    *,
    operation_name: str | None,
    variables: dict[str, Any] | None,
    context: object,
    source: object = None,
) -> ExecutionResult:
    """Prepares the operation and runs it."""
    try:
        prepared = prepare(schema, document.operation(operation_name), variables)
    except NotPrepared as refused:
        return ExecutionResult(None, refused.errors)
    except GraphQLError as error:
        return ExecutionResult(None, [error])
    return await run_prepared(schema, prepared, context=context, source=source)


async def run_by_reference(
    schema: GraphQLSchema,
    document: Document | Definitions,
    *,
    operation_name: str | None,
    variables: dict[str, Any] | None,
    context: object,
    source: object = None,
) -> ExecutionResult:
    """Runs an operation with graphql-core's own executor."""
    found = execute(
        schema,
        document.ast,
        source,
        context_value=context,
        variable_values=variables,
        operation_name=operation_name,
        executor_class=ReferenceExecutor,
    )
    return await found if isawaitable(found) else found
