"""The API reference: Markdown pages made from the SDL, and from the table of costs in docs/limits.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    Undefined,
    ast_from_value,
    build_schema,
    get_named_type,
    print_ast,
)

ROOTS: Final = {"Query": "queries", "Mutation": "mutations", "Subscription": "subscriptions"}
KINDS: Final[Mapping[str, tuple[type[Any], ...]]] = {
    "types": (GraphQLObjectType, GraphQLInterfaceType),
    "inputs": (GraphQLInputObjectType,),
    "enums": (GraphQLEnumType,),
    "scalars": (GraphQLScalarType,),
}
TITLES: Final = {
    "queries": "Queries",
    "mutations": "Mutations",
    "subscriptions": "Subscriptions",
    "types": "Types",
    "inputs": "Inputs",
    "enums": "Enums",
    "scalars": "Scalars",
}


def costs_of(limits: str) -> dict[str, str]:
    """The points of each field that has some, from the table of docs/limits.md."""
    return dict(re.findall(r"^\| `(\w+\.\w+)` \| (.+?) \|$", limits, re.MULTILINE))


def reference_pages(sdl: str, limits: str) -> dict[str, str]:
    """Returns the Markdown of each page by its path."""
    reference = _Reference(build_schema(sdl), costs_of(limits))
    return {f"reference/{name}.md": text for name, text in reference.pages()}


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    return _one_line(text).replace("|", "\\|")


class _Reference:
    def __init__(self, schema: GraphQLSchema, costs: Mapping[str, str]) -> None:
        self._schema = schema
        self._costs = costs
        self._types = {name: one for name, one in schema.type_map.items() if not name.startswith("__")}

    def pages(self) -> Iterator[tuple[str, str]]:
        yield "index", self._index()
        for root, page in ROOTS.items():
            yield page, self._page(page, self._root(self._root_type(root)))
        for page, classes in KINDS.items():
            found = (one for name, one in sorted(self._types.items()) if isinstance(one, classes) and name not in ROOTS)
            yield page, self._page(page, (line for one in found for line in self._type(one)))

    def _page(self, page: str, lines: Iterable[str]) -> str:
        return "\n".join([f"# {TITLES[page]}", "", *lines, ""])

    def _index(self) -> str:
        roots = {page: len(self._root_type(root).fields) for root, page in ROOTS.items()}
        kinds = {page: sum(self._page_of(one) == page for one in self._types.values()) for page in KINDS}
        rows = [f"| [{TITLES[page]}]({page}.md) | {count} |" for page, count in {**roots, **kinds}.items()]
        text = (
            "Made from the SDL: a gateway serves it at `/graphql/schema.graphql`. [Limits](../limits.md) explain costs."
        )
        return "\n".join(["# API reference", "", text, "", "| kind | number |", "| --- | --- |", *rows, ""])

    def _root_type(self, name: str) -> GraphQLObjectType:
        root = self._schema.type_map[name]
        assert isinstance(root, GraphQLObjectType)
        return root

    def _page_of(self, of_type: GraphQLNamedType) -> str:
        if of_type.name in ROOTS:
            return ROOTS[of_type.name]
        return next(page for page, classes in KINDS.items() if isinstance(of_type, classes))

    def _linked(self, of_type: Any) -> str:
        """The type as the SDL writes it, with a link to its section."""
        name = get_named_type(of_type).name
        before, after = str(of_type).split(name)
        text = f"{before}{name}{after}".replace("[", "\\[").replace("]", "\\]")
        return f"[{text}]({self._page_of(self._types[name])}.md#{name.lower()})"

    def _root(self, root: GraphQLObjectType) -> Iterator[str]:
        for name, field in root.fields.items():
            yield from self._described_field(f"{root.name}.{name}", name, field)

    def _described_field(self, path: str, name: str, field: GraphQLField) -> Iterator[str]:
        yield from (f"## {name}", "", f"Returns {self._linked(field.type)}.", "")
        if path in self._costs:
            yield from (f"Cost: {self._costs[path]} points.", "")
        yield from (*_notes(field.description, field.deprecation_reason), "")
        yield from self._table("argument", field.args)

    def _table(self, head: str, given: Mapping[str, GraphQLArgument | GraphQLInputField]) -> Iterator[str]:
        if not given:
            return
        yield from (f"| {head} | type | default | description |", "| --- | --- | --- | --- |")
        for name, one in given.items():
            description = _cell(" ".join(_notes(one.description, one.deprecation_reason)))
            yield f"| `{name}` | {self._linked(one.type)} | {_default(one)} | {description} |"
        yield ""

    def _type(self, of_type: GraphQLNamedType) -> Iterator[str]:
        yield from (f"## {of_type.name}", "", _one_line(of_type.description), "")
        for classes, described in self._sections():
            if isinstance(of_type, classes):
                yield from described(of_type)

    def _sections(self) -> tuple[tuple[Any, Callable[[Any], Iterator[str]]], ...]:
        return (
            ((GraphQLObjectType, GraphQLInterfaceType), self._fields),
            (GraphQLInputObjectType, lambda one: self._table("field", one.fields)),
            (GraphQLEnumType, self._values),
        )

    def _fields(self, of_type: GraphQLObjectType | GraphQLInterfaceType) -> Iterator[str]:
        if of_type.interfaces:
            yield from (f"Implements {', '.join(map(self._linked, of_type.interfaces))}.", "")
        yield from ("| field | type | description |", "| --- | --- | --- |")
        for name, field in of_type.fields.items():
            about = [*_notes(field.description, field.deprecation_reason), *self._arguments(field)]
            if points := self._costs.get(f"{of_type.name}.{name}"):
                about.append(f"*Cost: {points} points.*")
            yield f"| `{name}` | {self._linked(field.type)} | {_cell('<br>'.join(about))} |"
        yield ""

    def _arguments(self, field: GraphQLField) -> Iterator[str]:
        for name, one in field.args.items():
            default = f" = {_default(one)}" if one.default_value is not Undefined else ""
            yield f"`{name}`: {self._linked(one.type)}{default}. {_one_line(one.description)}"

    def _values(self, of_type: GraphQLEnumType) -> Iterator[str]:
        yield from ("| value | description |", "| --- | --- |")
        for name, value in of_type.values.items():
            yield f"| `{name}` | {_cell(' '.join(_notes(value.description, value.deprecation_reason)))} |"
        yield ""


def _notes(description: str | None, deprecation: str | None) -> list[str]:
    return [_one_line(description)] + ([f"**Deprecated:** {_one_line(deprecation)}"] if deprecation else [])


def _default(given: GraphQLArgument | GraphQLInputField) -> str:
    if given.default_value is Undefined:
        return ""
    node = ast_from_value(given.default_value, given.type)
    return f"`{print_ast(node)}`" if node else ""
