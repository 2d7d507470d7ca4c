"""Writes billing_gateway_client/operations.py: `python clients/python/generate.py`, run by `make clients`.

Each file of graphql/operations and clients/operations becomes a class whose fields are the variables of the operation,
with classes for its answer; the inputs and enums that they need come from graphql/schema.graphql.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from keyword import iskeyword
from pathlib import Path
from typing import Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLType,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    Undefined,
    build_schema,
    get_named_type,
    parse,
    strip_ignored_characters,
    type_from_ast,
    validate,
)

ROOT: Final = Path(__file__).resolve().parents[2]
TARGET: Final = Path(__file__).parent / "billing_gateway_client" / "operations.py"
FOLDERS: Final = (ROOT / "graphql" / "operations", ROOT / "clients" / "operations")

# Type in Python, and the expression that decodes a value.
SCALARS: Final = {
    "BigInt": ("int", "int({})"),
    "Boolean": ("bool", "{}"),
    "Date": ("date", "date.fromisoformat({})"),
    "DateTime": ("datetime", "datetime.fromisoformat({})"),
    "Decimal": ("Decimal", "Decimal({})"),
    "Float": ("float", "{}"),
    "ID": ("str", "{}"),
    "Int": ("int", "{}"),
    "String": ("str", "{}"),
    "YearMonth": ("str", "{}"),
}
KINDS: Final = {"query": "Query", "mutation": "Mutation", "subscription": "Subscription"}
HEAD: Final = '''"""Operations with their answers. Made by generate.py: do not edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal

from billing_gateway_client.operation import Input, Mutation, Query, Subscription
'''


def snake_case(name: str) -> str:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return f"{snake}_" if iskeyword(snake) else snake


def documented(text: str | None) -> list[str]:
    """The lines of a docstring within a class."""
    clean = " ".join((text or "").split()).replace("\\", "\\\\").replace('"', "'")
    return [f'    """{clean}"""'] if clean else []


@dataclass
class Selected:
    """Fields of one response key, wherever the selection names it."""

    nodes: list[FieldNode] = field(default_factory=list)
    type: GraphQLObjectType | GraphQLInterfaceType | None = None
    optional: bool = False


class Module:
    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._classes: dict[str, list[str]] = {}
        self._enums: dict[str, str] = {}
        self._fragments: dict[str, FragmentDefinitionNode] = {}

    def text(self) -> str:
        enums = "\n".join(self._enums[name] for name in sorted(self._enums))
        classes = "\n\n\n".join("\n".join(lines) for lines in self._classes.values())
        return f"{HEAD}\n{enums}\n\n\n{classes}\n"

    def _keep(self, name: str, lines: list[str]) -> None:
        if name in self._classes:
            raise ValueError(f"two classes are named {name}")
        self._classes[name] = lines

    def add(self, text: str) -> None:
        document = parse(text)
        if errors := validate(self._schema, document):
            raise ValueError(f"{errors[0]}")
        operation = self._operation_of(document)
        assert operation.name is not None
        name, root = operation.name.value, self._schema.get_root_type(operation.operation)
        assert root is not None
        self._answer(f"{name}Data", root, [operation.selection_set])
        lines = [
            "@dataclass(frozen=True, slots=True, kw_only=True)",
            f"class {name}({KINDS[operation.operation.value]}[{name}Data]):",
            *documented(" ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))),
            "",
            f"    name: ClassVar[str] = {name!r}",
            f"    text: ClassVar[str] = {strip_ignored_characters(text)!r}",
            *self._variables(operation),
            "",
            "    @staticmethod",
            f"    def decode(data: Mapping[str, Any]) -> {name}Data:",
            f"        return {name}Data.decode(data)",
        ]
        self._keep(name, lines)

    def _operation_of(self, document: DocumentNode) -> OperationDefinitionNode:
        self._fragments = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        (operation,) = (one for one in document.definitions if isinstance(one, OperationDefinitionNode))
        return operation

    def _variables(self, operation: OperationDefinitionNode) -> Iterator[str]:
        for variable in operation.variable_definitions or ():
            of_type = type_from_ast(self._schema, variable.type)
            assert of_type is not None
            required = isinstance(of_type, GraphQLNonNull) and variable.default_value is None
            yield self._given(variable.variable.name.value, of_type, required)

    def _given(self, name: str, of_type: GraphQLType, required: bool) -> str:
        """A field that a caller gives; None where it is omitted."""
        given = self._input_type(of_type.of_type if isinstance(of_type, GraphQLNonNull) else of_type)
        return f"    {snake_case(name)}: {given}" + ("" if required else " | None = None")

    def _input_type(self, of_type: GraphQLType) -> str:
        if isinstance(of_type, GraphQLNonNull):
            return self._input_type(of_type.of_type)
        if isinstance(of_type, GraphQLList):
            return f"tuple[{self._input_type(of_type.of_type)}, ...] | list[{self._input_type(of_type.of_type)}]"
        if isinstance(of_type, GraphQLInputObjectType):
            self._input(of_type)
            return of_type.name
        return self._leaf(of_type)[0]

    def _input(self, of_type: GraphQLInputObjectType) -> None:
        if of_type.name in self._classes:
            return
        self._classes[of_type.name] = []  # An input may hold itself.
        lines = ["@dataclass(frozen=True, slots=True, kw_only=True)", f"class {of_type.name}(Input):"]
        lines += [*documented(of_type.description), ""]
        for name, given in of_type.fields.items():
            # The client makes the key of a call that has none.
            required = isinstance(given.type, GraphQLNonNull) and given.default_value is Undefined
            lines.append(self._given(name, given.type, required and name != "idempotencyKey"))
            lines += documented(given.description)
        self._classes[of_type.name] = lines

    def _leaf(self, of_type: GraphQLType) -> tuple[str, str]:
        named = get_named_type(of_type)
        if isinstance(named, GraphQLEnumType):
            self._enums[named.name] = f"{named.name} = Literal[{', '.join(map(repr, named.values))}]"
            return named.name, "{}"
        return SCALARS[named.name]

    def _answer(
        self, name: str, parent: GraphQLObjectType | GraphQLInterfaceType, selections: Iterable[SelectionSetNode]
    ) -> None:
        fields: dict[str, Selected] = {}
        for selection in selections:
            self._collect(fields, parent, selection, optional=False)
        annotations, decoded = [], []
        for key, selected in fields.items():
            annotation, expression = self._value(f"{name.removesuffix('Data')}{key[0].upper()}{key[1:]}", key, selected)
            annotations.append(f"    {snake_case(key)}: {annotation}")
            annotations += documented(self._field(selected).description)
            decoded.append(f"            {snake_case(key)}={expression},")
        self._keep(
            name,
            [
                "@dataclass(frozen=True, slots=True)",
                f"class {name}:",
                *annotations,
                "",
                "    @classmethod",
                f"    def decode(cls, data: Mapping[str, Any]) -> {name}:",
                "        return cls(",
                *decoded,
                "        )",
            ],
        )

    def _collect(
        self,
        fields: dict[str, Selected],
        parent: GraphQLObjectType | GraphQLInterfaceType,
        selection: SelectionSetNode,
        *,
        optional: bool,
    ) -> None:
        for node in selection.selections:
            conditional = optional or any(one.name.value in ("include", "skip") for one in node.directives or ())
            if isinstance(node, FieldNode):
                key = node.alias.value if node.alias else node.name.value
                selected = fields.setdefault(key, Selected(type=parent, optional=conditional))
                selected.nodes.append(node)
                selected.optional = selected.optional and conditional
                continue
            assert isinstance(node, InlineFragmentNode | FragmentSpreadNode)
            fragment = self._fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node
            condition = fragment.type_condition
            inner = self._schema.type_map[condition.name.value] if condition else parent
            assert isinstance(inner, GraphQLObjectType | GraphQLInterfaceType)
            narrows = isinstance(parent, GraphQLInterfaceType) and inner is not parent
            self._collect(fields, inner, fragment.selection_set, optional=conditional or narrows)

    @staticmethod
    def _field(selected: Selected) -> GraphQLField:
        assert selected.type is not None
        found: GraphQLField = selected.type.fields[selected.nodes[0].name.value]
        return found

    def _value(self, name: str, key: str, selected: Selected) -> tuple[str, str]:
        of_type = self._field(selected).type
        if selected.optional:
            annotation, code = self._present(name, _nullable(of_type), f"data[{key!r}]", selected)
            return f"{annotation} | None", f"None if data.get({key!r}) is None else {code}"
        return self._decoded(name, of_type, f"data[{key!r}]", selected)

    def _decoded(self, name: str, of_type: GraphQLType, expression: str, selected: Selected) -> tuple[str, str]:
        """The type of a value and the expression that decodes it."""
        annotation, code = self._present(name, _nullable(of_type), expression, selected)
        if isinstance(of_type, GraphQLNonNull):
            return annotation, code
        return f"{annotation} | None", code if code == expression else f"None if {expression} is None else {code}"

    def _present(self, name: str, of_type: GraphQLType, expression: str, selected: Selected) -> tuple[str, str]:
        """The same of a value that is not null."""
        if isinstance(of_type, GraphQLList):
            annotation, code = self._decoded(name, of_type.of_type, "one", selected)
            return f"tuple[{annotation}, ...]", f"tuple({code} for one in {expression})"
        if isinstance(of_type, GraphQLObjectType | GraphQLInterfaceType):
            if name not in self._classes:
                self._answer(name, of_type, [node.selection_set for node in selected.nodes if node.selection_set])
            return name, f"{name}.decode({expression})"
        annotation, code = self._leaf(of_type)
        return annotation, code.format(expression)


def _nullable(of_type: GraphQLType) -> GraphQLType:
    inner: GraphQLType = of_type.of_type if isinstance(of_type, GraphQLNonNull) else of_type
    return inner


def generated() -> str:
    module = Module(build_schema((ROOT / "graphql" / "schema.graphql").read_text(encoding="utf-8")))
    for folder in FOLDERS:
        for path in sorted(folder.glob("*.graphql")):
            module.add(path.read_text(encoding="utf-8"))
    return module.text()


def main() -> None:
    text = generated()
    if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text:
        return
    # Whole or not at all: tests of two processes may write it at the same time.
    with tempfile.NamedTemporaryFile("w", dir=TARGET.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    Path(file.name).chmod(0o644)
    Path(file.name).replace(TARGET)


if __name__ == "__main__":
    main()
