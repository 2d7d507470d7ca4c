"""Source code that serializes whole subtrees of an answer: objects whose fields need nothing but the object itself.

Of each such selection one Python function is made, which takes the source and returns the dict, like

    def object_7(v):
        if v.__class__ not in known_8:
            admit(known_8, v)
        x0 = v.created_at
        x1 = method_9(v)
        return {
            "createdAt": (p if x0.__class__ in PLAIN and (p := serialize_10(x0)) is not None … else surprise()),
            "id": (x1 if x1.__class__ is str else surprise()),
        }

It raises for whatever it is not sure about. It makes no error of its own: the caller drops what was raised and goes
through the same fields one by one.
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
    """A field that the object alone gives the value of."""

    key: str
    type: GraphQLOutputType
    attribute: str | None
    method: Function | None
    serialized: str | None
    """What every object has here: the name of its type."""
    selection: str | None
    """The name of the function that serializes the objects in it."""


@dataclass(frozen=True, slots=True)
class LaterField:
    """A field of a selection that is filled in afterwards: its place in the answer is kept."""

    key: str


def admit(known: set[type], value: object, is_type_of: OfClass | None = None) -> None:
    """Lets objects of this class be read; exceptions, awaitables and nothing at all are not for reading."""
    if value is None or value is Undefined or isinstance(value, Exception) or is_awaitable(value):
        raise Surprise
    if is_type_of is not None and not is_type_of(value, None):
        raise Surprise
    known.add(value.__class__)


class SubtreeWriter:
    """Collects the functions of one plan; `built` makes them all."""

    def __init__(self) -> None:
        self._scope = Scope()
        self._scope.names |= {"admit": admit, "LISTS": LISTS}
        self._functions: list[str] = []

    def object_function(self, type_: GraphQLObjectType, fields: Sequence[PureField | LaterField]) -> str:
        """The name of the function that serializes the fields of an object."""
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
        """The name of the function that serializes a value of the type."""
        return self._function("value_", [f"return {self._serialized(type_, 'v', selection)}"])

    def built(self) -> dict[str, Any]:
        """Each function by its name."""
        space = dict(self._scope.names)
        exec("\n".join(self._functions), space)  # noqa: S102  nothing of a client's is in it but names that were parsed
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
