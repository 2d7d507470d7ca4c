"""Executing one operation of a checked document."""

from __future__ import annotations

from inspect import isawaitable
from typing import Any

from graphql import ExecutionResult, GraphQLError, GraphQLSchema, execute, get_variable_values
from graphql.execution.execute import default_field_resolver, default_type_resolver
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from execution.documents import Document
from execution.plans import Run


async def run(
    schema: GraphQLSchema,
    document: Document,
    *,
    operation_name: str | None,
    variables: dict[str, Any] | None,
    context: object,
) -> ExecutionResult:
    operation = document.operation(operation_name)
    definitions = operation.definition.variable_definitions or ()
    values = get_variable_values(schema, definitions, variables or {}, max_errors=MAX_VARIABLE_ERRORS)
    if isinstance(values, list):
        return ExecutionResult(None, values)
    running = Run(
        schema,
        document.fragment_definitions,
        document.fragments,
        None,
        context,
        operation.definition,
        values,
        default_field_resolver,
        default_type_resolver,
        default_field_resolver,
    )
    data: Any = None
    try:
        data = operation.plan(schema, values).execute(running)
        if running.is_pending(data):
            data = await data
    except GraphQLError as error:
        data = None
        running.collected_errors.add(error, None)
    return ExecutionResult(data, running.collected_errors.errors or None)


async def run_by_reference(
    schema: GraphQLSchema,
    document: Document,
    *,
    operation_name: str | None,
    variables: dict[str, Any] | None,
    context: object,
) -> ExecutionResult:
    """The same by graphql-core's own executor."""
    found = execute(
        schema,
        document.ast,
        context_value=context,
        variable_values=variables,
        operation_name=operation_name,
        executor_class=StrawberryGraphQLCoreExecutionContext,
    )
    return await found if isawaitable(found) else found


MAX_VARIABLE_ERRORS = 50
