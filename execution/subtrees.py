"""Subtrees: generates source code that serializes whole subtrees of an answer, whose fields need only the object.

Each such selection becomes one Python function that takes the source and returns the dict, such as

    def object_7(v):
        if v.__class__ not in known_8:
            admit(known_8, v)
        x0 = v.created_at
        x1 = method_9(v)
        return {
            "createdAt": (p if x0.__class__ in PLAIN and (p := serialize_10(x0)) is not None … else surprise()),
            "id": (x1 if x1.__class__ is str else surprise()),
        }

The function raises for any value that it cannot handle. Its error is never reported: the caller ignores the error and
executes the same fields one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import (
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    Undefined,
    is_leaf_type,
)
from graphql.pyutils import is_awaitable

from execution.calls import OfClass
from execution.leaves import Scope, Surprise, leaf_code

Function = Callable[[Any], Any]

LISTS = frozenset({list, tuple})


@dataclass(frozen=True, slots=True)
class PureField:
    """A field whose value depends only on the object."""

    key: str
    type: GraphQLOutputType
    attribute: str | None
    method: Function | None
    serialized: str | None
    """The value for every object: the name of its type."""
    selection: str | None
    """The name of the function that serializes the objects in the field's value."""


@dataclass(frozen=True, slots=True)
class LaterField:
    """A field that is filled in later. Its place in the answer is reserved."""

    key: str


def admit(known: set[type], value: object, is_type_of: OfClass | None = None) -> None:
    """Adds the object's class to the known classes. Raises Surprise for exceptions, awaitables, None and Undefined."""
    if value is None or value is Undefined or isinstance(value, Exception) or is_awaitable(value):
        raise Surprise
    if is_type_of is not None and not is_type_of(value, None):
        raise Surprise
    known.add(value.__class__)


class SubtreeWriter:
    """Collects the functions of one plan. `built` compiles all of them."""

    def __init__(self) -> None:
        self._scope = Scope()
        self._scope.names |= {"admit": admit, "LISTS": LISTS}
        self._functions: list[str] = []

    def object_function(self, type_: GraphQLObjectType, fields: Sequence[PureField | LaterField]) -> str:
        """Adds a function that serializes the fields of an object, and returns its name."""
        known = self._scope.name("known_", set())
        lines = [f"if v.__class__ not in {known}:", f"    admit({known}, v)"]
        if type_.is_type_of is not None:
            is_type_of = self._scope.name("is_type_", type_.is_type_of)
            if isinstance(type_.is_type_of, OfClass):
                lines[1] = f"    admit({known}, v, {is_type_of})"
            else:
                lines.append(f"if {is_type_of}(v, None) is not True: surprise()")
        serialized = []
        for number, field in enumerate(fields):
            code = "None"
            if isinstance(field, PureField):
                code = repr(field.serialized)
                if field.serialized is None:
                    lines.append(f"x{number} = {self._value(field)}")
                    code = self._serialized(field.type, f"x{number}", field.selection)
            serialized.append(f"    {field.key!r}: {code},")
        return self._function("object_", [*lines, "return {", *serialized, "}"])

    def value_function(self, type_: GraphQLOutputType, selection: str | None) -> str:
        """Adds a function that serializes a value of the type, and returns its name."""
        return self._function("value_", [f"return {self._serialized(type_, 'v', selection)}"])

    def built(self) -> dict[str, Any]:
        """Compiles the functions and returns them by name."""
        space = dict(self._scope.names)
        exec("\n".join(self._functions), space)  # noqa: S102  the only input from clients is parsed names
        return space

    def _function(self, prefix: str, lines: Sequence[str]) -> str:
        name = f"{prefix}{len(self._functions)}_"
        self._functions.append("\n    ".join([f"def {name}(v):", *lines]))
        return name

    def _value(self, field: PureField) -> str:
        if field.attribute is not None:
            return f"v.{field.attribute}"
        return f"{self._scope.name('method_', field.method)}(v)"

    def _serialized(self, type_: GraphQLOutputType, value: str, selection: str | None, depth: int = 0) -> str:
        if isinstance(type_, GraphQLNonNull):
            return self._certain(type_.of_type, value, selection, depth)
        return f"(None if {value} is None else {self._certain(type_, value, selection, depth)})"

    def _certain(self, type_: Any, value: str, selection: str | None, depth: int) -> str:
        if isinstance(type_, GraphQLList):
            item = f"i{depth}"
            serialized = self._serialized(type_.of_type, item, selection, depth + 1)
            return f"([{serialized} for {item} in {value}] if {value}.__class__ in LISTS else surprise())"
        if is_leaf_type(type_):
            return leaf_code(type_, value, self._scope)
        assert selection is not None
        return f"{selection}({value})"
