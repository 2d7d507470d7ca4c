"""Native shapes: descriptions of whole subtrees of an answer, by which compiled C code serializes them
(`serializer.c`).

The C code does the same as the functions that `execution.subtrees` generates, object by object and value by value, and
raises as they do for values that it cannot handle. A shape is a tuple. It begins with its kind and whether it may be
null:

    (TEXT | BOOLEAN | INT | TEXT_OF_INT, nullable)
    (ENUM, nullable, names)
    (CALL | TIME | DAY, nullable, serialize, plain, unusual)
    (FIXED_POINT, nullable, serialize, plain, unusual, digits, least)
    (LIST, nullable, shape of an item)
    (OBJECT, nullable, known, admit, is_type_of, template, ((key, getter, shape), …))

- `names`: the enum's names by resolver result.
- `serialize`: the scalar's own function, for values that C does not serialize itself.
- `plain`: the classes of values that `serialize` may get; None means any.
- `unusual`: gets the result of `serialize` if it is not a string.
- `known`: classes of objects that `admit` has accepted.
- `is_type_of`: called for every object, unless it is None.
- `template`: the object's dict, with null for each field.
- `getter`: the name of an attribute, or a function of the object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, cast

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLID,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLString,
    is_leaf_type,
)

from execution.calls import OfClass
from execution.leaves import PLAIN, enum_names, form_of, is_strict, unusual
from execution.subtrees import Function, LaterField, PureField, SubtreeWriter, admit

IS_COMPILED: Final = find_spec("execution._serializer") is not None
"""False if the package was installed without a C compiler."""

if TYPE_CHECKING or IS_COMPILED:
    from execution import _serializer

Shape = tuple[Any, ...]


class ShapeWriter:
    """Does the same as SubtreeWriter, with names of shapes instead of functions."""

    def __init__(self) -> None:
        self._objects: dict[str, Shape] = {}
        self._values: dict[str, Shape] = {}

    def object_function(self, type_: GraphQLObjectType, fields: Sequence[PureField | LaterField]) -> str:
        template: dict[str, str | None] = {}
        serialized = []
        for field in fields:
            template[field.key] = field.serialized if isinstance(field, PureField) else None
            if isinstance(field, PureField) and field.serialized is None:
                getter = field.attribute or field.method
                serialized.append((field.key, getter, self._shape(field.type, field.selection)))
        is_type_of, let_in = type_.is_type_of, cast("Callable[..., None]", admit)
        if isinstance(is_type_of, OfClass):
            is_type_of, let_in = None, partial(admit, is_type_of=is_type_of)
        name = f"object_{len(self._objects)}"
        self._objects[name] = (_serializer.OBJECT, False, set(), let_in, is_type_of, template, tuple(serialized))
        return name

    def value_function(self, type_: GraphQLOutputType, selection: str | None) -> str:
        name = f"value_{len(self._values)}"
        self._values[name] = self._shape(type_, selection)
        return name

    def built(self) -> dict[str, Function]:
        return {name: _serializer.Serializer(shape) for name, shape in (self._objects | self._values).items()}

    def _shape(self, type_: GraphQLOutputType, selection: str | None) -> Shape:
        nullable = not isinstance(type_, GraphQLNonNull)
        inner: Any = type_ if nullable else type_.of_type  # type: ignore[union-attr]
        if isinstance(inner, GraphQLList):
            return _serializer.LIST, nullable, self._shape(inner.of_type, selection)
        if is_leaf_type(inner):
            return _leaf_shape(inner, nullable=nullable)
        assert selection is not None
        kind, _, *rest = self._objects[selection]
        return kind, nullable, *rest


def _leaf_shape(leaf: GraphQLLeafType, *, nullable: bool) -> Shape:
    built_in = {
        GraphQLString: _serializer.TEXT,
        GraphQLID: _serializer.TEXT,
        GraphQLBoolean: _serializer.BOOLEAN,
        GraphQLInt: _serializer.INT,
    }
    if leaf in built_in:
        return built_in[leaf], nullable
    if isinstance(leaf, GraphQLEnumType):
        return _serializer.ENUM, nullable, enum_names(leaf)
    coerce = leaf.coerce_output_value
    if coerce is str:
        return _serializer.TEXT_OF_INT, nullable
    by_call = (nullable, coerce, None if is_strict(coerce) else PLAIN, unusual)
    form = form_of(coerce)
    if isinstance(form, tuple):
        return _serializer.FIXED_POINT, *by_call, *form
    kinds = {None: _serializer.CALL, "time": _serializer.TIME, "day": _serializer.DAY}
    return kinds[form], *by_call


Writer = ShapeWriter | SubtreeWriter


def best_writer() -> Writer:
    """Returns the writer for C code if it is compiled, else the one for Python."""
    return ShapeWriter() if IS_COMPILED else SubtreeWriter()
