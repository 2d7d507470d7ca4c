"""Source code that prints the leaves of an answer."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable
from typing import Any, Final, NoReturn

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLID,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLString,
    Undefined,
)


class Surprise(Exception):
    """A value that compiled code is not sure about. The reference executor is asked, and makes any error of it."""


def surprise(_value: object = None) -> NoReturn:
    raise Surprise


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
        self.names: dict[str, Any] = {"surprise": surprise, "Undefined": Undefined, "PLAIN": PLAIN}

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
    """An expression that prints what the variable `value` holds, and raises for None."""
    if leaf in _BUILT_IN:
        return _BUILT_IN[leaf](value)
    if isinstance(leaf, GraphQLEnumType):
        names = scope.name("names_of_", enum_names(leaf))
        return f"{names}[{value}]"
    printed = scope.name("print_", leaf.coerce_output_value)
    return (
        f"(p if {value}.__class__ in PLAIN and (p := {printed}({value})) is not None and p is not Undefined"
        " else surprise())"
    )
