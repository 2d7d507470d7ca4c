"""Operation run: the shared state of all fields while an operation runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from functools import partial
from types import CoroutineType
from typing import Any, Final

from graphql import GraphQLError, GraphQLSchema, OperationDefinitionNode
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.execute import default_field_resolver, default_type_resolver
from graphql.execution.values import VariableValues
from graphql.pyutils import is_awaitable
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from execution.crew import Crew
from execution.pending import Begun

_SERIALIZED: Final = frozenset({dict, list, str, int, float, bool, type(None)})
"""Classes of serialized values. None of them is awaitable."""


_PENDING: Final = frozenset({Begun, CoroutineType})


def is_pending(value: object) -> bool:
    kind = value.__class__
    return kind not in _SERIALIZED and (kind in _PENDING or is_awaitable(value))


async def answered(context: object) -> None:
    """Waits until prefetched values are there, if the context has a method `answered` for that."""
    wait: Callable[[], Awaitable[None]] | None = getattr(context, "answered", None)
    if wait is not None:
        await wait()


def around_field(context: object, *, may_read: bool = True) -> AbstractAsyncContextManager[None]:
    """Returns the context manager for a field of a mutation, which spans its resolver and all values below it.

    `may_read` is whether anything selected below the field reads more than what its resolver returns.

    The manager comes from the context's method `around_field`, if any. An error that leaves the field without a value
    is raised through the manager, and an error at its end is the field's error. So a transaction that begins in the
    resolver can commit after everything below was read in it.
    """
    around = getattr(context, "around_field", None)
    return nullcontext() if around is None else around(may_read=may_read)


def reads_held(context: object) -> AbstractContextManager[None]:
    """Returns the context manager within which values are asked for but not read yet, so that those of a long list are
    read together. It comes from the context's method `reads_held`, if any."""
    held = getattr(context, "reads_held", None)
    return nullcontext() if held is None else held()


class Reference(StrawberryGraphQLCoreExecutionContext):
    """graphql-core's executor. Runs what compiled code cannot handle, and collects the errors."""


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
        """Arguments made from variables, by field: they are the same for all sources of the field."""
        self._fragments = fragments
        self._operation = operation
        self._reference: Reference | None = None
        self.crew: Crew | None = None
        """Continues all that waits, once the run has a long list."""

    def has_long_list(self) -> None:
        if self.crew is None:
            self.crew = Crew(partial(reads_held, self.context))

    def close(self) -> None:
        if self.crew is not None:
            self.crew.close()

    @property
    def reference(self) -> Reference:
        """Created when first needed, since most runs do not need it."""
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
