"""One run of an operation: what all of its fields share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from types import CoroutineType
from typing import Any, Final

from graphql import GraphQLError, GraphQLSchema, OperationDefinitionNode
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.execute import default_field_resolver, default_type_resolver
from graphql.execution.values import VariableValues
from graphql.pyutils import is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from execution.pending import Begun

_PRINTED: Final = frozenset({dict, list, str, int, float, bool, type(None)})
"""What answers are made of: no awaitable is among these."""


_PENDING: Final = frozenset({Begun, CoroutineType})


def is_pending(value: object) -> bool:
    kind = value.__class__
    return kind not in _PRINTED and (kind in _PENDING or is_awaitable(value))


async def answered(context: object) -> None:
    """Waits until what was prefetched is there, where the context has a method `answered` that tells."""
    wait: Callable[[], Awaitable[None]] | None = getattr(context, "answered", None)
    if wait is not None:
        await wait()


def around_field(context: object, *, may_read: bool = True) -> AbstractAsyncContextManager[None]:
    """What a field of a mutation is run within, from its resolver to the last value below it.

    `may_read` says whether anything that is selected below the field reads more than what its resolver returns.

    A context that has a method `around_field` says so by it. The error that leaves the field without a value is raised
    through it, and what it raises at its end is the field's error: a transaction that begins with the resolver can be
    committed after all below was read in it.
    """
    around = getattr(context, "around_field", None)
    return nullcontext() if around is None else around(may_read=may_read)


class Reference(StrawberryGraphQLCoreExecutionContext):
    """graphql-core's executor, which runs what compiled code is not sure about and collects the errors."""


class Run:
    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: dict[str, FragmentDetails],
        operation: OperationDefinitionNode,
        variables: VariableValues,
        context: object,
        arguments: dict[object, Mapping[str, Any]] | None = None,
    ) -> None:
        self.schema = schema
        self.variables = variables
        self.context = context
        self.arguments: dict[object, Mapping[str, Any]] = {} if arguments is None else arguments
        """Those made of variables, by field: they are the same for all of its sources."""
        self._fragments = fragments
        self._operation = operation
        self._reference: Reference | None = None

    @property
    def reference(self) -> Reference:
        """Made when it is first needed: most runs never do."""
        if self._reference is None:
            self._reference = Reference(
                self.schema,
                {name: fragment.definition for name, fragment in self._fragments.items()},
                self._fragments,
                None,
                self.context,
                self._operation,
                self.variables,
                default_field_resolver,
                default_type_resolver,
                default_field_resolver,
            )
        return self._reference

    @property
    def errors(self) -> list[GraphQLError] | None:
        return None if self._reference is None else self._reference.collected_errors.errors or None
