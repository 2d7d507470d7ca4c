"""One run of an operation: what all of its fields share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from graphql import GraphQLError, GraphQLSchema, OperationDefinitionNode
from graphql.execution.execute import default_field_resolver, default_type_resolver
from graphql.execution.values import VariableValues
from graphql.pyutils import Path, is_awaitable
from strawberry import Info
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from execution.pending import Begun

if TYPE_CHECKING:
    from execution.attributes import Projection
    from execution.documents import Document
    from execution.plans import Field

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
        document: Document,
        operation: OperationDefinitionNode,
        variables: VariableValues,
        context: object,
        arguments: dict[Field, Mapping[str, Any]] | None = None,
    ) -> None:
        self.schema = schema
        self.variables = variables
        self.context = context
        self.arguments: dict[Field, Mapping[str, Any]] = {} if arguments is None else arguments
        """Those made of variables, by field: they are the same for all of its sources."""
        self._document = document
        self._operation = operation
        self._reference: Reference | None = None

    @property
    def reference(self) -> Reference:
        """Made when it is first needed: most runs never do."""
        if self._reference is None:
            self._reference = Reference(
                self.schema,
                self._document.fragment_definitions,
                self._document.fragments,
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


class FieldInfo(Info[Any, Any]):
    """Strawberry's Info, whose graphql-core part is made when a resolver looks at more than the context."""

    def __init__(self, run: Run, field: Field, path: Path) -> None:
        self._run = run
        self._compiled_field = field
        self._at = path
        self._made: Any = None

    @property
    def context(self) -> Any:
        return self._run.context

    @property
    def projection(self) -> Projection:
        return self._compiled_field.projection

    @property
    def _field(self) -> Any:  # type: ignore[override]
        return self._compiled_field.definition

    @property
    def _raw_info(self) -> Any:  # type: ignore[override]
        if self._made is None:
            self._made = self._compiled_field.info(self._run, self._at)
        return self._made
