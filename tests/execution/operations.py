"""Random valid operations over a schema: whatever a client may write, in small."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NamedTuple

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    OperationType,
    Undefined,
    get_named_type,
    is_composite_type,
    is_leaf_type,
)

Composite = GraphQLObjectType | GraphQLInterfaceType | GraphQLUnionType

MAX_DEPTH: Final = 6
MAX_FRAGMENTS: Final = 5
_ALIASES: Final = ("a", "b", "c", "id", "name", "node", "edges", "totals", "cost", "text")
"""Some are names of fields: an alias may hide another field's name."""


class Written(NamedTuple):
    text: str
    name: str | None
    """The operation's name, if it must be named."""


class Word(str):
    """Written into the document as it is: an enum's value or a variable."""

    __slots__ = ()


@dataclass(frozen=True)
class Vocabulary:
    """What arguments are given, and how often which field is chosen."""

    scalars: Mapping[str, Sequence[Any]]
    """Values as JSON, by the name of the scalar."""
    arguments: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Values by the name of the argument, or of field and argument, where it says more than its type."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """By the name of the field or argument; 1 for the others."""


class _Variable(NamedTuple):
    definition: str
    place: str
    """The type of other places that it may stand in; empty for none."""
    value: Callable[[], Any]
    optional: bool
    nullable: bool


class OperationWriter:
    """Writes one operation.

    Fields that share a key are merged, which is valid only where they have the same name, arguments and type. So
    each key belongs to one such combination in the whole document: `_key` sees to it.
    """

    def __init__(self, schema: GraphQLSchema, vocabulary: Vocabulary, random: Random) -> None:
        self._schema = schema
        self._vocabulary = vocabulary
        self._random = random
        self._left = random.choice((3, 6, 10, 16, 24))
        self._owners: dict[str, tuple[str, str, str]] = {}
        self._fragments: dict[str, tuple[Composite, str]] = {}
        self._variables: dict[str, _Variable] = {}

    def write(self, kind: OperationType) -> Written:
        root = self._schema.get_root_type(kind)
        assert root is not None
        selections = self._event(root) if kind == OperationType.SUBSCRIPTION else self._selections(root, 0)
        name = "Wanted" if self._random.random() < 0.5 else None
        texts = []
        if name is not None and self._random.random() < 0.1:
            texts.append("query Other { __typename }")
        definitions = ", ".join(one.definition for one in self._variables.values())
        variables = f"({definitions})" if definitions else ""
        bare = kind == OperationType.QUERY and name is None and not variables and self._random.random() < 0.5
        texts.append(selections if bare else f"{kind.value} {name or ''}{variables} {selections}")
        texts += [f"fragment {one} on {type_} {text}" for one, (type_, text) in self._fragments.items()]
        self._random.shuffle(texts)
        return Written("\n".join(texts), name if len(texts) > len(self._fragments) + 1 else None)

    def values(self) -> dict[str, Any]:
        """Values of the operation's variables, others each time."""
        values = {}
        for name, variable in self._variables.items():
            roll = self._random.random()
            if variable.optional and roll < 0.25:
                continue
            null = 0.99 if variable.place == "Boolean!" else 0.95
            values[name] = None if variable.nullable and roll > null else variable.value()
        if values and self._random.random() < 0.03:
            wrong = self._random.choice(list(values))
            if self._random.random() < 0.5:
                values[wrong] = {"no": "such value"}
            else:
                del values[wrong]  # though it be required
        return values

    def _event(self, root: GraphQLObjectType) -> str:
        """A subscription's one field. Its arguments choose the events; were they refused, there would be none."""
        name, called = self._random.choice(list(root.fields.items()))
        given = self._arguments(name, called, variables=False)
        return f"{{ {self._key(name, given, str(called.type))}{given}{self._below(called, 0)} }}"

    def _selections(self, type_: Composite, depth: int) -> str:
        if self._random.random() < 0.04:
            return f"{{ {self._key('__typename', '', 'String!')} }}"
        chosen: list[str] = []
        written = [
            self._selection(type_, depth, chosen)
            for _ in range(self._random.choice((1, 2, 3, 4, 6) if depth else (1, 2, 3)))
        ]
        return "{ " + " ".join(written) + " }"

    def _selection(self, type_: Composite, depth: int, chosen: list[str]) -> str:
        roll = self._random.random()
        self._left -= 1
        if self._left > 0 and depth < MAX_DEPTH:
            if roll < 0.05:
                return f"...{self._directives()} {self._selections(type_, depth + 1)}"
            if roll < 0.12:
                within = self._overlapping(type_)
                return f"... on {within}{self._directives()} {self._selections(within, depth + 1)}"
            if roll < 0.22:
                return f"...{self._fragment(type_, depth)}{self._directives()}"
        if roll > 0.985 and type_ is self._schema.query_type:
            return self._introspection()
        return self._field(type_, depth, chosen)

    def _overlapping(self, type_: Composite) -> Composite:
        possible = set(self._possible(type_))
        types = [one for one in self._schema.type_map.values() if is_composite_type(one)]
        return self._random.choice(
            [one for one in types if not one.name.startswith("__") and possible & set(self._possible(one))]
        )

    def _possible(self, type_: Composite) -> Sequence[GraphQLObjectType]:
        return [type_] if isinstance(type_, GraphQLObjectType) else self._schema.get_possible_types(type_)

    def _fragment(self, type_: Composite, depth: int) -> str:
        possible = set(self._possible(type_))
        known = [name for name, (on, _) in self._fragments.items() if possible & set(self._possible(on))]
        if known and (self._random.random() < 0.4 or len(self._fragments) >= MAX_FRAGMENTS):
            return self._random.choice(known)
        on = self._overlapping(type_)
        text = self._selections(on, depth + 1)
        name = f"F{len(self._fragments)}"
        self._fragments[name] = on, text
        return name

    def _field(self, type_: Composite, depth: int, chosen: list[str]) -> str:
        fields = {} if isinstance(type_, GraphQLUnionType) else type_.fields
        if self._left <= 0 or depth >= MAX_DEPTH:
            fields = {name: one for name, one in fields.items() if is_leaf_type(get_named_type(one.type))}
        if not fields or self._random.random() < 0.06:
            return f"{self._key('__typename', '', 'String!')}{self._directives()}"
        again = [name for name in chosen if name in fields]
        if again and self._random.random() < 0.25:
            name = self._random.choice(again)
        else:
            weights = [self._vocabulary.weights.get(name, 1) for name in fields]
            (name,) = self._random.choices(list(fields), weights)
        chosen.append(name)
        return self._call(name, fields[name], depth)

    def _call(self, name: str, called: GraphQLField, depth: int) -> str:
        given = self._arguments(name, called)
        key = self._key(name, given, str(called.type))
        return f"{key}{given}{self._directives()}{self._below(called, depth)}"

    def _below(self, called: GraphQLField, depth: int) -> str:
        inner: GraphQLNamedType = get_named_type(called.type)
        return f" {self._selections(inner, depth + 1)}" if is_composite_type(inner) else ""

    def _key(self, name: str, given: str, type_: str) -> str:
        """The field's name with an alias before it, if it is to have one."""
        owner = name, given, type_
        key = name
        if self._random.random() < 0.12 or self._owners.setdefault(key, owner) != owner:
            key = self._random.choice(_ALIASES)
        number = 0
        while self._owners.setdefault(key, owner) != owner:
            number += 1
            key = f"{name}_{number}"
        return name if key == name else f"{key}: {name}"

    def _introspection(self) -> str:
        inner = self._random.choice(
            ("name", "kind description", "__typename", "fields { name type { name ofType { name } } }")
        )
        key = f"meta{len(self._owners)}"
        self._owners[key] = key, "", ""
        name = self._random.choice(("PageInfo", "Query", "Node", "Nothing"))
        return self._random.choice(
            (
                f'{key}: __type(name: "{name}") {{ name }}',
                f'{key}: __type(name: "PageInfo") {{ {inner} }}',
                f"{key}: __schema {{ queryType {{ name }} }}",
            )
        )

    def _directives(self) -> str:
        if self._random.random() > 0.12:
            return ""
        names = self._random.choice((["skip"], ["include"], ["skip", "include"], ["include", "skip"]))
        return "".join(f" @{name}(if: {self._condition(name == 'include')})" for name in names)

    def _condition(self, usual: bool) -> str:
        def value() -> bool:
            return usual if self._random.random() < 0.65 else not usual

        if self._random.random() < 0.4:
            return json.dumps(value())
        return self._variable(GraphQLNonNull(self._schema.type_map["Boolean"]), Undefined, value)

    def _arguments(self, field_name: str, called: GraphQLField, *, variables: bool = True) -> str:
        given = {}
        known = self._vocabulary.arguments
        for name, argument in called.args.items():
            required = isinstance(argument.type, GraphQLNonNull) and argument.default_value is Undefined
            if required or self._random.random() < 0.25 * self._vocabulary.weights.get(name, 1):
                values = known.get(f"{field_name}.{name}") or known.get(name)
                given[name] = self._value(argument.type, argument.default_value, values, variables=variables)
        return f"({', '.join(f'{name}: {_literal(value)}' for name, value in given.items())})" if given else ""

    def _value(self, type_: Any, default: Any, values: Sequence[Any] | None, *, variables: bool) -> Any:
        if variables and self._random.random() < 0.35:
            return Word(self._variable(type_, default, lambda: self._value(type_, default, values, variables=False)))
        if isinstance(type_, GraphQLNonNull):
            return self._certain(type_.of_type, values, variables=variables)
        return None if self._random.random() < 0.06 else self._certain(type_, values, variables=variables)

    def _certain(self, type_: Any, values: Sequence[Any] | None, *, variables: bool) -> Any:
        if isinstance(type_, GraphQLList):
            if self._random.random() < 0.1:
                return self._value(GraphQLNonNull(get_named_type(type_)), Undefined, values, variables=False)
            size = self._random.choice((0, 1, 1, 2, 3))
            return [self._value(type_.of_type, Undefined, values, variables=variables) for _ in range(size)]
        if isinstance(type_, GraphQLInputObjectType):
            return self._object(type_, variables=variables)
        if isinstance(type_, GraphQLEnumType):
            return Word(self._random.choice(list(type_.values)))
        return self._random.choice(values or self._vocabulary.scalars[type_.name])

    def _object(self, type_: GraphQLInputObjectType, *, variables: bool) -> dict[str, Any]:
        given = {}
        for name, one in type_.fields.items():
            required = isinstance(one.type, GraphQLNonNull) and one.default_value is Undefined
            if required or self._random.random() < 0.3:
                values = self._vocabulary.arguments.get(name)
                given[name] = self._value(one.type, one.default_value, values, variables=variables)
        return given

    def _variable(self, place: Any, place_default: Any, value: Callable[[], Any]) -> str:
        """The name of a variable that may stand in this place; a new one, or one that is there."""
        fitting = [name for name, one in self._variables.items() if one.place == str(place)]
        if fitting and self._random.random() < 0.3:
            return f"${self._random.choice(fitting)}"
        nullable = not isinstance(place, GraphQLNonNull)
        default: Any = Undefined
        fits = str(place)
        type_ = place
        roll = self._random.random()
        if nullable and roll < 0.15:
            type_, nullable = GraphQLNonNull(place), False
        elif not nullable and roll < 0.4:
            # A nullable variable is let into this place for its default, or for that of the place.
            type_, nullable = place.of_type, True
            default = value() if place_default is Undefined or roll < 0.2 else Undefined
            fits = str(place) if default is not Undefined else ""
        elif roll > 0.7:
            default = value()
        name = f"v{len(self._variables)}"
        shown = "" if default is Undefined else f" = {_literal(default)}"
        optional = nullable or default is not Undefined
        self._variables[name] = _Variable(f"${name}: {type_}{shown}", fits, value, optional, nullable)
        return f"${name}"


def _literal(value: Any) -> str:
    if isinstance(value, Word):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_literal(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
