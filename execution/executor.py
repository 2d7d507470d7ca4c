"""Executing one operation of a checked document."""

from __future__ import annotations

from inspect import isawaitable
from typing import Any

from graphql import ExecutionResult, GraphQLError, GraphQLObjectType, GraphQLSchema, OperationType, execute
from graphql.execution.collect_fields import FieldDetails
from graphql.pyutils import Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from execution.documents import Document
from execution.operation_run import Run, around_field, is_pending


class ReferenceExecutor(StrawberryGraphQLCoreExecutionContext):
    """graphql-core's executor by itself, each field of a mutation within what its context wants around it."""

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
        except Exception as error:  # noqa: BLE001  the field's own, or that of what it was run within
            field = self.schema.get_field(parent_type, details[0].node.name.value)
            assert field is not None, "the document is valid"
            return self.handle_field_error(error, field.type, details, path)


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
        plan = operation.plan(schema, values)
        if plan.prefetches:
            await plan.prefetch(running)
        data = plan.execute(running, source)
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
        executor_class=ReferenceExecutor,
    )
    return await found if isawaitable(found) else found
