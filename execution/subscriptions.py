"""Subscriptions: a source of events, and a separate run for each event's answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from inspect import isawaitable
from typing import Any

from graphql import ExecutionResult, GraphQLSchema
from graphql.execution import Executor, create_source_event_stream

from execution.documents import Definitions


async def source_of(
    schema: GraphQLSchema,
    document: Definitions,
    *,
    operation_name: str | None,
    variables: dict[str, Any] | None,
    context: object,
) -> AsyncIterator[Any] | ExecutionResult:
    """Returns the events of a subscription, or the errors that kept it from starting.

    A subscription starts only once, so graphql-core starts it. `run` or `run_by_reference` answers its events.
    """
    executor = Executor.build(
        schema,
        document.ast,
        context_value=context,
        raw_variable_values=variables,
        operation_name=operation_name,
    )
    if isinstance(executor, list):
        return ExecutionResult(None, executor)
    found: Any = create_source_event_stream(executor)
    if isawaitable(found):
        found = await found
    return found if isinstance(found, ExecutionResult) else aiter(found)
