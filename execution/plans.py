"""Plans: what an operation does, computed once: its fields, their types and their calls.

A plan is for one operation and one outcome of its `@skip` and `@include`. It is a tree: a `Selection` has `Field`s. A
field's `Completion` serializes its value; for objects it has a selection again. If all fields of a selection need only
the object, one function serializes it whole (`execution.subtrees`). Other fields, and objects for which that function
raises, are walked one by one. Values that the walk cannot handle are passed to the reference executor, which therefore
creates every error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import CoroutineType
from typing import Any, Final, Protocol

from graphql import (
    GraphQLAbstractType,
    GraphQLField,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    Undefined,
)
from graphql.execution.collect_fields import FieldDetails
from graphql.execution.executor import invalid_return_type_error
from graphql.pyutils import Path, is_awaitable
from strawberry import Info
from strawberry.types.field import StrawberryField

from execution.attributes import ANY, Projection
from execution.calls import PREFETCH, ResolverCall, attribute_of, method_of
from execution.inputs import Arguments
from execution.operation_run import Run, answered, around_field, is_pending, reads_held
from execution.pending import all_of, begin
from execution.slices import Slices
from execution.subtrees import Function, PureField

AT_ONCE_ITEMS: Final = 50
"""Longer lists are walked in slices, so that a page of thousands of rows does not hold up other operations."""
_ITEMS_BETWEEN_LOOKS: Final = 10
"""Items that are walked before the clock is looked at."""


class Selection:
    """The selected fields of an object of one type."""

    def __init__(self, type_: GraphQLObjectType, fields: Sequence[Field]) -> None:
        self.type = type_
        self._fields = fields
        self.later: Sequence[Field] = fields
        """Fields that `quick` does not serialize."""
        self.quick: Function | None = None
        """Serializes all other fields at once. Raises if any value is unusual."""

    @property
    def fields(self) -> Sequence[Field]:
        return self._fields

    def execute(self, run: Run, source: Any, path: Path | None) -> Any:
        """Returns the object's dict, or a coroutine of it. Raises the error that makes the whole object null."""
        later = self.later
        try:
            serialized = {} if self.quick is None else self.quick(source)
        except Exception:  # noqa: BLE001  repeated and reported field by field
            serialized, later = {}, self._fields
        waiting: list[tuple[str, Any]] = []
        for field in later:
            try:
                value = field.execute(run, source, Path(path, field.key, self.type.name))
            except Exception:
                if waiting:
                    run.reference.settle_in_background([one for _, one in waiting])
                raise
            serialized[field.key] = value
            if is_pending(value):
                waiting.append((field.key, value))
        return _filled(run, serialized, waiting) if waiting else serialized

    async def execute_serially(self, run: Run, source: Any) -> dict[str, Any]:
        serialized: dict[str, Any] = {}
        for field in self._fields:
            path = Path(None, field.key, self.type.name)
            try:
                async with around_field(run.context, may_read=field.may_read_below):
                    value = field.execute(run, source, path)
                    serialized[field.key] = await value if is_pending(value) else value
            except Exception as error:  # noqa: BLE001  the error of the field or of its context manager
                field.failed(run, error, path)
                serialized[field.key] = None
        return serialized

    def prefetch(self, run: Run, key: Any) -> None:
        for field in self.later:
            field.prefetch(run, key)


async def _filled(run: Run, serialized: Any, waiting: Sequence[tuple[Any, Any]]) -> Any:
    together = all_of if run.crew is None else run.crew.all_of
    results = await together([one for _, one in waiting])
    for (place, _), result in zip(waiting, results, strict=True):
        serialized[place] = result
    return serialized


class Field:
    """One key of an answer: its resolver call, and how its value is serialized."""

    def __init__(self, parent: GraphQLObjectType, key: str, details: list[FieldDetails], field: GraphQLField) -> None:
        self.key = key
        self.type: GraphQLOutputType = field.type
        self.details = details
        self.definition: StrawberryField | None = None
        self.completion: Completion | None = None
        """None if the reference executor runs the field: introspection, and fields that Strawberry wraps."""
        self.pure: PureField | None = None
        self.projection: Projection = ANY
        """The attributes that the operation reads below a field that loads rows."""
        self.may_read_below = True
        """Whether a resolver below a mutation's field may read."""
        self._parent = parent
        self._field = field
        self._call: Callable[[Field, Run, Any, Path], Any] = _refuse
        self._arguments: Arguments | None = None
        self._prefetch: Callable[..., Any] | None = None

    def compile(self, definition: StrawberryField, completion: Completion, schema: GraphQLSchema) -> None:
        self.definition = definition
        self.completion = completion
        self._prefetch = definition.metadata.get(PREFETCH)
        attribute = attribute_of(definition)
        method = method_of(definition)
        if attribute is not None:
            self._call = lambda _field, _run, source, _path: getattr(source, attribute)
        elif method is not None:
            self._call = lambda _field, _run, source, _path: method(source)
        else:
            self._call = _resolver_call(ResolverCall(definition))
        self._arguments = Arguments(schema, self._field, self.details[0].node, definition)

    @property
    def name(self) -> str:
        return self.details[0].node.name.value

    def narrow(self, projection: Projection) -> None:
        """Sets the attributes that the operation reads below a field that loads rows. Everything below must be compiled
        before."""
        self.projection = projection
        if self._prefetch is not None:
            self._prefetch = partial(self._prefetch, projection=projection)

    def arguments(self, run: Run) -> Mapping[str, Any]:
        """Returns the arguments. They are the same for all sources, so they are computed at most once per run."""
        assert self._arguments is not None
        if self._arguments.constant is not None:
            return self._arguments.constant
        known = run.arguments.get(self)
        if known is None:
            known = run.arguments[self] = self._arguments.values(run.variables)
        return known

    def info(self, run: Run, path: Path) -> Any:
        return run.reference.build_resolve_info(self._field, [one.node for one in self.details], self._parent, path)

    def execute(self, run: Run, source: Any, path: Path) -> Any:
        """Returns the serialized value, None if its error was collected, or an awaitable of either.

        Raises a located error if the field may not be null.
        """
        if self.completion is None:
            if self.pure is not None:  # __typename, of a source that could not be serialized whole
                return self.pure.serialized
            return run.reference.execute_field(self._parent, source, self.details, path, None)
        try:
            value = self._call(self, run, source, path)
            if value.__class__ is CoroutineType or is_pending(value):
                return begin(self._completed(run, value, path))
            serialized = self.completion.complete(run, self, value, path)
        except Exception as error:  # noqa: BLE001  any error of a resolver is the field's error
            return self.failed(run, error, path)
        return begin(self._caught(run, serialized, path)) if is_pending(serialized) else serialized

    async def _completed(self, run: Run, value: Any, path: Path) -> Any:
        assert self.completion is not None
        try:
            serialized = self.completion.complete(run, self, await value, path)
            return await serialized if is_pending(serialized) else serialized
        except Exception as error:  # noqa: BLE001
            return self.failed(run, error, path)

    async def _caught(self, run: Run, serialized: Any, path: Path) -> Any:
        try:
            return await serialized
        except Exception as error:  # noqa: BLE001
            return self.failed(run, error, path)

    def failed(self, run: Run, error: Exception, path: Path, type_: GraphQLOutputType | None = None) -> None:
        run.reference.handle_field_error(error, type_ or self.type, self.details, path)

    def by_reference(self, run: Run, type_: GraphQLOutputType, value: Any, path: Path) -> Any:
        return run.reference.complete_value(type_, self.details, self.info(run, path), path, value, None)

    @property
    def prefetches(self) -> bool:
        return self._prefetch is not None

    def prefetch(self, run: Run, key: Any) -> None:
        if self._prefetch is None:
            return
        try:
            below = self._prefetch(run.context, key, **self.arguments(run))
        except Exception:  # noqa: BLE001  the resolver will meet it and report it
            return
        if below is not None and self.completion is not None:
            self.completion.prefetch(run, below)


def _refuse(_field: Field, _run: Run, _source: Any, _path: Path) -> Any:
    raise AssertionError("the field was not compiled")


def _resolver_call(call: ResolverCall) -> Callable[[Field, Run, Any, Path], Any]:
    """The function gets the field, which refers to the function: a cycle would be freed late."""

    def with_info(field: Field, run: Run, source: Any, path: Path) -> Any:
        return call(source, FieldInfo(run, field, path), field.arguments(run))

    def without_info(field: Field, run: Run, source: Any, _path: Path) -> Any:
        return call(source, None, field.arguments(run))

    return without_info if call.info is None else with_info


class FieldInfo(Info[Any, Any]):
    """Strawberry's Info. Its graphql-core part is created when a resolver uses more than the context."""

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


class Completion:
    """Serializes the values of a type. This class is for leaves; subclasses are for values with selections."""

    def __init__(self, type_: GraphQLOutputType) -> None:
        self.type = type_
        self.nullable = not isinstance(type_, GraphQLNonNull)
        self.quick: Function | None = None
        """Serializes a whole value. Raises if anything in it is unusual."""

    def complete(self, run: Run, field: Field, value: Any, path: Path) -> Any:
        """Returns the serialized value, or a coroutine of it."""
        if self.quick is not None:
            try:
                return self.quick(value)
            except Exception:  # noqa: BLE001, S110  repeated and reported below
                pass
        return self.walk(run, field, value, path)

    def walk(self, run: Run, field: Field, value: Any, path: Path) -> Any:
        return field.by_reference(run, self.type, value, path)

    def selections(self) -> Iterable[Selection]:
        """Returns the selections of the objects in the value."""
        return ()

    def without_object(self, run: Run, field: Field, value: Any, path: Path) -> Any:
        return None if value is None and self.nullable else field.by_reference(run, self.type, value, path)

    def prefetch(self, run: Run, key: Any) -> None:
        """Does nothing, because leaves have nothing below them."""


class ObjectCompletion(Completion):
    def __init__(self, type_: GraphQLOutputType, selection: Selection) -> None:
        super().__init__(type_)
        self.selection = selection

    def walk(self, run: Run, field: Field, value: Any, path: Path) -> Any:
        if value is None or value is Undefined or isinstance(value, Exception):
            return self.without_object(run, field, value, path)
        return execute_object(run, field, self.selection, value, path)

    def selections(self) -> Iterable[Selection]:
        return (self.selection,)

    def prefetch(self, run: Run, key: Any) -> None:
        self.selection.prefetch(run, key)


def execute_object(run: Run, field: Field, selection: Selection, value: Any, path: Path) -> Any:
    is_type_of = selection.type.is_type_of
    if is_type_of is not None and not _is_quickly(is_type_of, value):
        info = field.info(run, path)
        is_one = is_type_of(value, info)
        if is_awaitable(is_one):
            return run.reference.complete_object_value(selection.type, field.details, info, path, value, None)
        if not is_one:
            raise invalid_return_type_error(selection.type, value, field.details)
    return selection.execute(run, value, path)


def _is_quickly(is_type_of: Callable[[Any, Any], Any], value: Any) -> bool:
    """Returns whether the value is known to be of the type without graphql-core's info, which is costly and rarely
    used."""
    try:
        return is_type_of(value, None) is True
    except Exception:  # noqa: BLE001  it used the info
        return False


class ListCompletion(Completion):
    def __init__(self, type_: GraphQLOutputType, item: Completion) -> None:
        super().__init__(type_)
        self._item = item

    def walk(self, run: Run, field: Field, value: Any, path: Path) -> Any:
        if value.__class__ not in (list, tuple):
            return field.by_reference(run, self.type, value, path)
        if len(value) > AT_ONCE_ITEMS:
            return begin(self._walked_in_slices(run, field, value, path))
        serialized: list[Any] = []
        waiting: list[tuple[int, Any]] = []
        self._walk_some(run, field, value, path, serialized, waiting)
        return _filled(run, serialized, waiting) if waiting else serialized

    async def _walked_in_slices(self, run: Run, field: Field, value: Sequence[Any], path: Path) -> Any:
        """Lets others run between slices. What the items ask for is read when all have asked."""
        serialized: list[Any] = []
        waiting: list[tuple[int, Any]] = []
        run.has_long_list()
        slices = Slices()
        with reads_held(run.context):
            for start in range(0, len(value), _ITEMS_BETWEEN_LOOKS):
                if slices.is_over:
                    await slices.next()
                self._walk_some(run, field, value[start : start + _ITEMS_BETWEEN_LOOKS], path, serialized, waiting)
        return await _filled(run, serialized, waiting) if waiting else serialized

    def _walk_some(
        self,
        run: Run,
        field: Field,
        items: Sequence[Any],
        path: Path,
        serialized: list[Any],
        waiting: list[tuple[int, Any]],
    ) -> None:
        """Appends the serialized items, and those of them that are pending with their index."""
        for index, item in enumerate(items, len(serialized)):
            try:
                one = self._serialized_item(run, field, item, path.add_key(index, None))
            except Exception:
                if waiting:
                    run.reference.settle_in_background([one for _, one in waiting])
                raise
            serialized.append(one)
            if is_pending(one):
                waiting.append((index, one))

    def _serialized_item(self, run: Run, field: Field, item: Any, path: Path) -> Any:
        try:
            if is_pending(item):
                return begin(self._awaited_item(run, field, item, path))
            one = self._item.complete(run, field, item, path)
        except Exception as error:  # noqa: BLE001
            return field.failed(run, error, path, self._item.type)
        return begin(self._caught_item(run, field, one, path)) if is_pending(one) else one

    async def _awaited_item(self, run: Run, field: Field, item: Any, path: Path) -> Any:
        try:
            one = self._item.complete(run, field, await item, path)
            return await one if is_pending(one) else one
        except Exception as error:  # noqa: BLE001
            return field.failed(run, error, path, self._item.type)

    async def _caught_item(self, run: Run, field: Field, one: Any, path: Path) -> Any:
        try:
            return await one
        except Exception as error:  # noqa: BLE001
            return field.failed(run, error, path, self._item.type)

    def selections(self) -> Iterable[Selection]:
        return self._item.selections()

    def prefetch(self, run: Run, key: Any) -> None:
        self._item.prefetch(run, key)


class AbstractCompletion(Completion):
    """Serializes objects of an interface or union. Each object has the selection of its own type."""

    def __init__(
        self, type_: GraphQLOutputType, abstract: GraphQLAbstractType, selections: Mapping[str, Selection]
    ) -> None:
        super().__init__(type_)
        self._abstract = abstract
        self._selections = selections

    def walk(self, run: Run, field: Field, value: Any, path: Path) -> Any:
        if value is None or value is Undefined or isinstance(value, Exception):
            return self.without_object(run, field, value, path)
        info = field.info(run, path)
        resolve_type = self._abstract.resolve_type or run.reference.type_resolver
        name = resolve_type(value, info, self._abstract)
        if is_awaitable(name):
            return self._awaited(run, field, name, value, path)
        return self._typed(run, field, name, value, path)

    async def _awaited(self, run: Run, field: Field, name: Any, value: Any, path: Path) -> Any:
        serialized = self._typed(run, field, await name, value, path)
        return await serialized if is_pending(serialized) else serialized

    def _typed(self, run: Run, field: Field, name: Any, value: Any, path: Path) -> Any:
        type_ = run.reference.ensure_valid_runtime_type(
            name, self._abstract, field.details, field.info(run, path), value
        )
        return execute_object(run, field, self._selections[type_.name], value, path)

    def selections(self) -> Iterable[Selection]:
        return self._selections.values()

    def prefetch(self, run: Run, key: Any) -> None:
        for selection in self._selections.values():
            selection.prefetch(run, key)


class CostFormula(Protocol):
    def points(self, run: Run, account_rows: int) -> int: ...


class Plan:
    """One operation, for one outcome of its conditions."""

    cost: CostFormula | None = None
    """Computed when it is first needed."""

    def __init__(self, root: Selection, operation: OperationDefinitionNode, fields: int, compiled: int) -> None:
        self.root = root
        self._serial = operation.operation == OperationType.MUTATION
        self.fields = fields
        """Number of fields, including those of every possible type."""
        self.compiled = compiled
        """Number of fields that do not need the reference executor."""
        self.prefetches = not self._serial and any(field.prefetches for field in root.later)
        """Whether `prefetch` has anything to request."""

    async def prefetch(self, run: Run) -> None:
        """Requests what is known before any resolver runs, and waits for it, so that most resolvers end at their first
        step."""
        self.root.prefetch(run, None)
        await answered(run.context)

    def execute(self, run: Run, source: Any) -> Any:
        """Returns the data, or a coroutine of it. Raises the error that leaves no data."""
        if self._serial:
            return self.root.execute_serially(run, source)
        return self.root.execute(run, source, None)
