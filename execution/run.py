"""Executing one operation of a checked document."""

from __future__ import annotations

from inspect import isawaitable
from typing import Any

from graphql import ExecutionResult, GraphQLError, GraphQLSchema, execute
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from execution.documents import Document
from execution.runs import Run, is_pending


async def run(
    schema: GraphQLSchema,
    document: Document,
    *,
    operation_name: str | None,
    variables: dict[str, Any] | None,
    context: object,
    source: object = None,
) -> ExecutionResult:
    """`source` is what the fields of the root are asked of: a subscription's event."""
    operation = document.operation(operation_name)
    values = operation.variables(schema).values(variables or {})
    if isinstance(values, list):
        return ExecutionResult(None, values)
    if operation.has_null_condition(values):
        return await run_by_reference(
            schema, document, operation_name=operation_name, variables=variables, context=context, source=source
        )
    running = Run(schema, document, operation.definition, values, context)
    data: Any = None
    try:
        data = operation.plan(schema, values).execute(running, source)
        if is_pending(data):
            data = await data
    except GraphQLError as error:
        data = None
        running.reference.collected_errors.add(error, None)
    return ExecutionResult(data, running.errors)


async def run_by_reference(
    schema: GraphQLSchema,
    document: Document,
    *,
    operation_name: str | None,
    variables: dict[str, Any] | None,
    context: object,
    source: object = None,
) -> ExecutionResult:
    """The same by graphql-core's own executor."""
    found = execute(
        schema,
        document.ast,
        source,
        context_value=context,
        variable_values=variables,
        operation_name=operation_name,
        executor_class=StrawberryGraphQLCoreExecutionContext,
    )
    return await found if isawaitable(found) else found
