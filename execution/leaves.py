"""Leaves: generates source code that serializes scalars and enums."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, NoReturn

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLID,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLString,
    Undefined,
)
from graphql.pyutils import is_awaitable


class Surprise(Exception):
    """Compiled code cannot handle a value. The reference executor is asked instead, and creates any error."""


def surprise(_value: object = None) -> NoReturn:
    raise Surprise


def unusual(serialized: Any) -> Any:
    """Accepts a serialized value that is not a string, such as a number or a JSON object. Raises Surprise for no
    value."""
    if serialized is None or serialized is Undefined or is_awaitable(serialized):
        raise Surprise
    return serialized


class FixedPoint(NamedTuple):
    """Serializes an integer of the smallest unit as a plain decimal, without trailing zeros beyond the `least`
    digits."""

    digits: int
    """Number of fraction digits, at most 18."""
    least: int


Form = FixedPoint | Literal["time", "day"]
"""A form that compiled C code can serialize too: integers as `FixedPoint`, datetimes in UTC as RFC 3339 with six
fraction digits ("time"), dates as YYYY-MM-DD ("day")."""

_FORM: Final = "serialized_form"


def serialized_as(form: Form, coerce: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Marks a scalar's function with the form of its strings, so that it need not be called for them."""
    setattr(coerce, _FORM, form)
    return coerce


def form_of(coerce: Callable[[Any], Any]) -> Form | None:
    return getattr(coerce, _FORM, None)


@lru_cache(maxsize=256)
def is_strict(coerce: Callable[[Any], Any]) -> bool:
    """Returns whether the function itself refuses values that no scalar serializes."""

    async def awaitable() -> None:
        """A coroutine that is never awaited."""

    coroutine = awaitable()
    try:
        for value in (None, Undefined, ValueError("text"), coroutine):
            try:
                coerce(value)
            except Exception:  # noqa: BLE001, S112  refusing the value is the expected result
                continue
            return False
    finally:
        coroutine.close()
    return True


# Classes of values that custom scalars get. They include no coroutine, no exception and not None.
PLAIN: Final = frozenset(
    {
        str,
        int,
        float,
        bool,
        bytes,
        dict,
        list,
        decimal.Decimal,
        datetime.datetime,
        datetime.date,
        datetime.time,
        uuid.UUID,
    }
)


def enum_names(enum: GraphQLEnumType) -> dict[Any, str]:
    """Returns the enum's names by resolver result: the values, and the members of the Python enum, if any."""
    values = [value.value for value in enum.values.values()]
    values += list(getattr(enum, "wrapped_cls", ()))
    names: dict[Any, str] = {}
    for value in values:
        try:
            names[value] = enum.coerce_output_value(value)
        except TypeError:  # unhashable: left to the reference executor
            continue
    return names


class Scope:
    """The names of this program's objects in generated code."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"surprise": surprise, "unusual": unusual, "PLAIN": PLAIN}

    def name(self, prefix: str, value: object) -> str:
        for name, known in self.names.items():
            if known is value:
                return name
        name = f"{prefix}{len(self.names)}"
        self.names[name] = value
        return name


def _of_class(kind: str) -> Callable[[str], str]:
    return lambda value: f"({value} if {value}.__class__ is {kind} else surprise())"


_BUILT_IN: Final[dict[GraphQLLeafType, Callable[[str], str]]] = {
    GraphQLString: _of_class("str"),
    GraphQLID: _of_class("str"),
    GraphQLBoolean: _of_class("bool"),
    GraphQLInt: lambda value: (
        f"({value} if {value}.__class__ is int and -2147483648 <= {value} <= 2147483647 else surprise())"
    ),
}


def leaf_code(leaf: GraphQLLeafType, value: str, scope: Scope) -> str:
    """Returns an expression that serializes the variable `value` and raises for None."""
    if leaf in _BUILT_IN:
        return _BUILT_IN[leaf](value)
    if isinstance(leaf, GraphQLEnumType):
        names = scope.name("names_of_", enum_names(leaf))
        return f"{names}[{value}]"
    coerce = leaf.coerce_output_value
    if coerce is str:
        return f"(str({value}) if {value}.__class__ is int or {value}.__class__ is str else surprise())"
    serialized = scope.name("serialize_", coerce)
    text = f"(p if (p := {serialized}({value})).__class__ is str else unusual(p))"
    if is_strict(coerce):
        return text
    return f"({text} if {value}.__class__ in PLAIN else surprise())"
