"""Source code that serializes the leaves of an answer."""

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
    """A value that compiled code is not sure about. The reference executor is asked, and makes any error of it."""


def surprise(_value: object = None) -> NoReturn:
    raise Surprise


def unusual(serialized: Any) -> Any:
    """What is no string may be right too: a number, or an object of JSON."""
    if serialized is None or serialized is Undefined or is_awaitable(serialized):
        raise Surprise
    return serialized


class FixedPoint(NamedTuple):
    """An integer of the smallest unit as a plain decimal, without the zeros at its end beyond the `least` digits."""

    digits: int
    """After the point: up to 18."""
    least: int


Form = FixedPoint | Literal["time", "day"]
"""How a scalar serializes what compiled C code can serialize too: integers as `FixedPoint`, datetimes in UTC as RFC
3339 with six fraction digits ("time"), dates as YYYY-MM-DD ("day")."""

_FORM: Final = "serialized_form"


def serialized_as(form: Form, coerce: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Says of a scalar's function which form its strings have, so that it need not be called for them."""
    setattr(coerce, _FORM, form)
    return coerce


def form_of(coerce: Callable[[Any], Any]) -> Form | None:
    return getattr(coerce, _FORM, None)


@lru_cache(maxsize=256)
def is_strict(coerce: Callable[[Any], Any]) -> bool:
    """Whether it refuses by itself what no scalar is made of."""

    async def awaitable() -> None:
        """Never awaited."""

    coroutine = awaitable()
    try:
        for value in (None, Undefined, ValueError("text"), coroutine):
            try:
                coerce(value)
            except Exception:  # noqa: BLE001, S112  that is what is asked
                continue
            return False
    finally:
        coroutine.close()
    return True


# What custom scalars are given: no coroutine, no exception and no None is among these.
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
    """The names by what resolvers return: the values, and the members of a Python enum that stands behind them."""
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
    """The names that generated code uses for objects of this program."""

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
    """An expression that serializes what the variable `value` holds, and raises for None."""
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
