"""One operation by both executors, and whether the answers are the same.

They must have the same data, in the same order, and the same errors. One thing is left open by the specification: where
several fields that may not be null fail, and the nearest place that may be null is the same for them, it holds the
error of any of them, and which of the others are noticed in time is a matter of chance. `difference` says exactly what
that leaves to compare.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from unittest import mock

from graphql import (
    ExecutionResult,
    GraphQLError,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    get_nullable_type,
)
from graphql.execution.collect_fields import FieldDetails
from graphql.execution.executor import CollectedErrors
from graphql.pyutils import Path

import execution.executor as run_module
import execution.operation_run as runs
from execution.documents import Document
from execution.executor import ReferenceExecutor
from execution.operation_run import Reference
from gateway.errors import problem_of

Place = tuple[str | int, ...]


class Failure(NamedTuple):
    path: Place | None
    kind: str
    code: str
    message: str
    locations: tuple[Any, ...]


def failure_of(error: GraphQLError) -> Failure:
    cause: BaseException = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    path = None if error.path is None else tuple(error.path)
    return Failure(path, type(cause).__name__, problem_of(cause).code, error.message, tuple(error.locations or ()))


@dataclass
class Answer:
    data: Any
    failures: list[tuple[Place, Failure]]
    """Each with the place that it made null."""
    fields: int = 0
    """Fields that the reference executor ran."""
    raised: str | None = None
    """What came instead of an answer."""


class _Errors(CollectedErrors):
    """Remembers which place each error made null."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[Place] = []

    def add(self, error: GraphQLError, path: Path | None) -> None:
        before = len(self.errors)
        super().add(error, path)
        if len(self.errors) > before:
            self.places.append(_place(path))


def _place(path: Path | None) -> Place:
    return () if path is None else tuple(path.as_list())


class _Watched(ReferenceExecutor):
    """The reference executor, its fields counted."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.collected_errors = self.noted = _Errors()
        self.fields = 0
        watched.append(self)

    def execute_field(self, *arguments: Any) -> Any:
        self.fields += 1
        return super().execute_field(*arguments)


class _WatchedReference(Reference):
    """The reference executor inside a compiled run: counts the fields that are left to it, wholly or in part."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.collected_errors = self.noted = _Errors()
        self._left: set[Place] = set()
        watched.append(self)

    @property
    def fields(self) -> int:
        return len(self._left)

    def execute_field(self, parent: Any, source: Any, details: Any, path: Path, context: Any) -> Any:
        self._left.add(_place(path))
        return super().execute_field(parent, source, details, path, context)

    def complete_value(self, type_: Any, details: Any, info: Any, path: Path, result: Any, context: Any) -> Any:
        place = _place(path)
        while isinstance(place[-1], int):
            place = place[:-1]
        self._left.add(place)
        return super().complete_value(type_, details, info, path, result, context)


class _Unpropagated(_Watched):
    """The reference executor where errors null nothing but their own field: it meets every one that there is."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.error_propagation = False
        self.types: dict[Place, GraphQLOutputType] = {}

    def execute_field(self, *arguments: Any) -> Any:
        parent_type, _, details, path, _ = arguments
        self.types[_place(path)] = _type_of(self.schema, parent_type, details)
        return super().execute_field(*arguments)


def _type_of(schema: GraphQLSchema, parent: GraphQLObjectType, details: list[FieldDetails]) -> GraphQLOutputType:
    field = schema.get_field(parent, details[0].node.name.value)
    assert field is not None
    return field.type


watched: list[_Watched | _WatchedReference] = []
"""The executors of the run that is going on."""


@contextmanager
def watching() -> Iterator[None]:
    with (
        mock.patch.object(runs, "Reference", _WatchedReference),
        mock.patch.object(run_module, "ReferenceExecutor", _Watched),
    ):
        yield


def _executors_of(context: object) -> list[_Watched | _WatchedReference]:
    """One at most. What a run before has left behind may have made others meanwhile."""
    return [one for one in watched if one.context_value is context]


async def answer(execute: Any, schema: GraphQLSchema, document: Document, **given: Any) -> Answer:
    """Within `watching`. Waits for what the execution has left behind, so nothing of it meets the next."""
    watched.clear()
    try:
        result: ExecutionResult = await execute(schema, document, **given)
    except BaseException as error:  # noqa: BLE001  an answer as wrong as any
        return Answer(None, [], raised=repr(error))
    executors = _executors_of(given["context"])
    if not executors:
        return Answer(result.data, [((), failure_of(error)) for error in result.errors or ()])
    (executor,) = executors
    noted = executor.noted
    if list(noted.errors) != list(result.errors or ()):
        return Answer(None, [], raised=f"{len(noted.errors)} errors were collected, others told: {result.errors}")
    places = zip(noted.places, map(failure_of, noted.errors), strict=True)
    found = Answer(result.data, list(places), executor.fields)
    while executor.background_futures:  # noqa: ASYNC110  graphql-core tells nobody
        await asyncio.sleep(0)
    return found


async def possible_failures(schema: GraphQLSchema, document: Document, **given: Any) -> Mapping[Place, set[Failure]]:
    """Every error that may be the one of a place that may be null."""
    watched.clear()
    with mock.patch.object(run_module, "ReferenceExecutor", _Unpropagated):
        await run_module.run_by_reference(schema, document, **given)
    executors = _executors_of(given["context"])
    if not executors:  # the variables were refused
        return {}
    (executor,) = executors
    assert isinstance(executor, _Unpropagated)
    found: dict[Place, set[Failure]] = {}
    for error in executor.noted.errors:
        found.setdefault(_nulled(executor.types, tuple(error.path or ())), set()).add(failure_of(error))
    return found


def _nulled(types: Mapping[Place, GraphQLOutputType], place: Place) -> Place:
    """The nearest place upwards that may be null."""
    while place and isinstance(_type_at(types, place), GraphQLNonNull):
        place = place[:-1]
    return place


def _type_at(types: Mapping[Place, GraphQLOutputType], place: Place) -> Any:
    if isinstance(place[-1], str):
        return types[place]
    listed: Any = get_nullable_type(_type_at(types, place[:-1]))
    return listed.of_type


def difference(
    compiled: Answer, reference: Answer, possible: Callable[[], Mapping[Place, set[Failure]]] | None = None
) -> str | None:
    """What differs, or None.

    - Data are compared as their JSON text, so the order of keys counts.
    - An error strictly below a place that became null later is dropped on both sides: it was noticed in time or not.
    - What remains is one error for each place made null. They must be equal as a multiset of path, class of the
      cause, code, message and locations; or else, with `possible`, the places must be the same, and the errors of each
      one of those that could have nulled it, on both sides. So where only one could, it must be that one.
    """
    if compiled.raised or reference.raised:
        return None if compiled.raised == reference.raised else "one of them raised"
    if json.dumps(compiled.data, default=_type_name) != json.dumps(reference.data, default=_type_name):
        return "the data differ"
    left, right = (Counter(_standing(one)) for one in (compiled, reference))
    if left == right:
        return None
    if possible is None:
        return "the errors differ"
    if Counter(place for place, _ in left.elements()) != Counter(place for place, _ in right.elements()):
        return "errors of different places"
    candidates = possible()
    for place, failure in (*left, *right):
        if failure not in candidates.get(place, ()):
            return f"not an error that could make {list(place)} null: {failure}"
    return None


def _type_name(value: object) -> str:
    return f"<{type(value).__name__}>"


def _standing(one: Answer) -> list[tuple[Place, Failure]]:
    return [(place, failure) for place, failure in one.failures if not _below_null(one.data, place)]


def _below_null(data: Any, place: Place) -> bool:
    """Not so where there is no such place, which comparing the errors tells."""
    for key in place:
        if data is None:
            return True
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return False
    return False
