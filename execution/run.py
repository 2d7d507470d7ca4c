"""Executing one operation of a checked document."""

from __future__ import annotations

from inspect import isawaitable
from typing import Any

from graphql import ExecutionResult, execute
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from execution.documents import Document, Documents


async def run(
    documents: Documents,
    document: Document,
    *,
    operation_name: str | None,
    variables: dict[str, Any] | None,
    context: object,
) -> ExecutionResult:
    found = execute(
        documents.schema,
        document.ast,
        context_value=context,
        variable_values=variables,
        operation_name=operation_name,
        executor_class=StrawberryGraphQLCoreExecutionContext,
    )
    return await found if isawaitable(found) else found
