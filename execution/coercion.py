"""Coercion: functions that read input values, created once per type. Unexpected values are left to graphql-core.

`coercer` does the same as graphql-core's `coerce_input_value`, and `converter` the same as Strawberry's
`convert_argument`. Those inspect the type again for each value, and an input object costs as much as a page of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING
from datetime import date
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, Final, NamedTuple

import strawberry
from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLID,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    GraphQLString,
    Undefined,
    get_nullable_type,
    is_non_null_type,
)
from graphql.type.definition import is_required_input_field
from graphql.utilities.coerce_input_value import coerce_default_value
from strawberry.schema.config import StrawberryConfig
from strawberry.types.base import (
    StrawberryList,
    StrawberryMaybe,
    StrawberryOptional,
    has_object_definition,
)
from strawberry.types.enum import StrawberryEnumDefinition, has_enum_definition
from strawberry.types.field import StrawberryField
from strawberry.types.lazy_type import LazyType

from execution.limits import MAX_LIST_ITEMS, ListTooLong

Read = Callable[[Any], Any]

_IMMUTABLE: Final = (str, int, float, type(None), Enum, Decimal, date)


def _unexpected(_value: object) -> Any:
    return Undefined


@lru_cache(maxsize=1_024)
def coercer(type_: GraphQLInputType) -> Read:
    """Returns a function that coerces a variable's value to the type.

    The function returns Undefined for invalid values, and for some valid ones.
    """
    return _coercer(type_, ())


def _coercer(type_: Any, above: tuple[GraphQLInputObjectType, ...]) -> Read:
    if isinstance(type_, GraphQLNonNull):
        read = _certain(type_.of_type, above)
        return lambda value: Undefined if value is None else read(value)
    read = _certain(type_, above)
    return lambda value: None if value is None else read(value)


def _certain(type_: Any, above: tuple[GraphQLInputObjectType, ...]) -> Read:
    if isinstance(type_, GraphQLList):
        return _list_coercer(_coercer(type_.of_type, above))
    if isinstance(type_, GraphQLInputObjectType):
        # If the type can contain itself, graphql-core limits the depth.
        return _unexpected if type_ in above or type_.is_one_of else _object_coercer(type_, (*above, type_))
    return _leaf_coercer(type_)


def _leaf_coercer(leaf: GraphQLLeafType) -> Read:
    coerce = _leaf_coercion(leaf)

    def read(value: Any) -> Any:
        try:
            return coerce(value)
        except Exception:  # noqa: BLE001  graphql-core creates the error
            return Undefined

    return read


def _leaf_coercion(leaf: GraphQLLeafType) -> Read:
    """Returns a function that raises an error for an invalid value."""
    if not isinstance(leaf, GraphQLEnumType):
        return leaf.coerce_input_value
    values = {name: leaf.coerce_input_value(name) for name in leaf.values}
    return values.__getitem__


def _list_coercer(item: Read) -> Read:
    def read(value: Any) -> Any:
        if value.__class__ is not list:
            return Undefined
        if len(value) > MAX_LIST_ITEMS:
            raise ListTooLong(len(value))
        found = []
        for one in value:
            coerced = item(one)
            # Compare by identity, because graphql-core's Undefined is equal to None.
            if coerced is Undefined:
                return Undefined
            found.append(coerced)
        return found

    return read


class _InputField(NamedTuple):
    key: str
    """The key in the new value."""
    read: Read
    """Coerces values other than null. Raises an error or returns Undefined for invalid values."""
    unchanged: type | None
    """Values of this class are not changed by coercion."""
    is_nullable: bool


_UNCHANGED: Final = {GraphQLString: str, GraphQLID: str, GraphQLBoolean: bool}


def _input_field(name: str, field: GraphQLInputField, above: tuple[GraphQLInputObjectType, ...]) -> _InputField:
    type_ = get_nullable_type(field.type)
    unchanged = _UNCHANGED.get(type_) if isinstance(type_, GraphQLScalarType) else None
    read = _leaf_coercion(type_) if isinstance(type_, GraphQLLeafType) else _certain(type_, above)
    return _InputField(field.out_name or name, read, unchanged, is_nullable=not is_non_null_type(field.type))


def _may_be_left_out(field: GraphQLInputField) -> bool:
    """Returns False for deep defaults, which are left to graphql-core: whoever gets one could change it."""
    default = coerce_default_value(field)
    return not is_required_input_field(field) and (
        default is Undefined
        or all(isinstance(one, _IMMUTABLE) for one in (default if isinstance(default, list) else [default]))
    )


def _defaults(type_: GraphQLInputObjectType) -> dict[str, Any]:
    named = {field.out_name or name: coerce_default_value(field) for name, field in type_.fields.items()}
    return {key: default for key, default in named.items() if default is not Undefined}


def _filler(fields: Mapping[str, _InputField]) -> Callable[[dict[str, Any], dict[str, Any]], bool]:
    def fill(found: dict[str, Any], value: dict[str, Any]) -> bool:
        """Coerces all given fields. Returns False if one is invalid."""
        for name, one in value.items():
            field = fields.get(name)
            if field is None:
                return False
            key, read_field, unchanged, is_nullable = field
            if one.__class__ is not unchanged:
                if one is not None:
                    one = read_field(one)
                    if one is Undefined:
                        return False
                elif not is_nullable:
                    return False
            found[key] = one
        return True

    return fill


def _object_coercer(type_: GraphQLInputObjectType, above: tuple[GraphQLInputObjectType, ...]) -> Read:
    fill = _filler({name: _input_field(name, field, above) for name, field in type_.fields.items()})
    required = frozenset(name for name, field in type_.fields.items() if not _may_be_left_out(field))
    defaults = _defaults(type_)
    lists = [key for key, default in defaults.items() if default.__class__ is list]

    def read(value: Any) -> Any:
        if value.__class__ is not dict or not required <= value.keys():
            return Undefined
        found = defaults.copy()
        for key in lists:
            found[key] = defaults[key].copy()
        try:
            return type_.out_type(found) if fill(found, value) else Undefined
        except ListTooLong:
            raise
        except Exception:  # noqa: BLE001  graphql-core creates the error
            return Undefined

    return read


class Unconvertible(Exception):
    """Only Strawberry's own function can convert this type."""


def converter(type_: Any, config: StrawberryConfig, scalars: Mapping[object, object]) -> Read:
    """Returns a function that converts a coerced value to the resolver's argument. Raises Unconvertible."""
    if isinstance(type_, StrawberryMaybe):
        raise Unconvertible
    if isinstance(type_, StrawberryOptional):
        return converter(type_.of_type, config, scalars)
    if isinstance(type_, StrawberryList):
        item = converter(type_.of_type, config, scalars)
        return lambda value: None if value is None else [item(one) for one in value]
    if isinstance(type_, LazyType):
        return converter(type_.resolve_type(), config, scalars)
    if isinstance(type_, StrawberryEnumDefinition) or has_enum_definition(type_):
        return _identity
    if has_object_definition(type_):
        return _object_converter(type_, config, scalars)
    if type_ in (str, int, float, bool, strawberry.ID) or type_ in scalars:
        return _identity
    raise Unconvertible


def _identity(value: Any) -> Any:
    return value


def _object_converter(type_: Any, config: StrawberryConfig, scalars: Mapping[object, object]) -> Read:
    definition = type_.__strawberry_definition__
    if definition.from_input is not None or not definition.is_input:
        raise Unconvertible
    fields: list[StrawberryField] = definition.fields
    # Strawberry uses null for fields without a default.
    left_out = {field.python_name: None for field in fields if not _has_default(field)}
    named = {
        config.name_converter.from_field(field): (
            field.python_name,
            converter(field.resolve_type(type_definition=definition), config, scalars),
        )
        for field in fields
    }

    def convert(value: Any) -> Any:
        if value is None:
            return None
        given = left_out.copy()
        for name, one in value.items():
            python_name, convert_field = named[name]
            given[python_name] = one if convert_field is _identity else convert_field(one)
        return type_(**given)

    return convert


def _has_default(field: StrawberryField) -> bool:
    return field.default_value is not MISSING or field.default_factory is not MISSING
