"""Tools for assistants, made from the queries of graphql/operations. Mutations and subscriptions are none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    GraphQLType,
    OperationDefinitionNode,
    OperationType,
    Undefined,
    VariableDefinitionNode,
    get_named_type,
    parse,
    type_from_ast,
    value_from_ast_untyped,
)

from schema.build import graphql_schema

SCOPE: Final = "READ"
"""The scope of keys that tools are for."""

_PACKAGED: Final = Path(__file__).parent / "operations"
_REPOSITORY: Final = Path(__file__).parents[2] / "graphql" / "operations"

_SCALARS: Final = {"Boolean": "boolean", "Int": "integer", "Float": "number"}
"""All other scalars are strings: amounts, times and large integers too."""


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str
    text: str
    """The operation."""
    input_schema: dict[str, Any]
    """JSON Schema of the variables."""


def operations_folder() -> Path:
    """The operations that a wheel carries, or those of the repository."""
    return _PACKAGED if _PACKAGED.is_dir() else _REPOSITORY


def read_tools() -> dict[str, Tool]:
    """Returns the tools for keys of scope READ by their names."""
    schema = graphql_schema()
    found = (_tool(schema, path) for path in sorted(operations_folder().glob("*.graphql")) if _is_for_readers(path))
    return {tool.name: tool for tool in found if tool is not None}


def _is_for_readers(path: Path) -> bool:
    notes = path.with_suffix(".json")
    scopes = orjson.loads(notes.read_bytes()).get("scopes") if notes.is_file() else None
    return scopes is None or SCOPE in scopes


def _tool(schema: GraphQLSchema, path: Path) -> Tool | None:
    text = path.read_text(encoding="utf-8")
    operation = next(one for one in parse(text).definitions if isinstance(one, OperationDefinitionNode))
    if operation.operation != OperationType.QUERY:
        return None
    about = " ".join(line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))
    return Tool(path.stem, about, text, _input_schema(schema, operation))


def _input_schema(schema: GraphQLSchema, operation: OperationDefinitionNode) -> dict[str, Any]:
    definitions: dict[str, Any] = {}
    variables = operation.variable_definitions or ()
    properties = {one.variable.name.value: _variable(schema, one, definitions) for one in variables}
    described: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if required := [one.variable.name.value for one in variables if _is_required(one)]:
        described["required"] = required
    return described | ({"$defs": definitions} if definitions else {})


def _is_required(variable: VariableDefinitionNode) -> bool:
    return variable.type.kind == "non_null_type" and variable.default_value is None


def _variable(schema: GraphQLSchema, variable: VariableDefinitionNode, definitions: dict[str, Any]) -> dict[str, Any]:
    of_type = type_from_ast(schema, variable.type)
    assert of_type is not None
    described = _described(of_type, definitions)
    if variable.default_value is None:
        return described
    return {**described, "default": value_from_ast_untyped(variable.default_value)}


def _described(of_type: GraphQLType, definitions: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a value; null is allowed if GraphQL allows it."""
    if isinstance(of_type, GraphQLNonNull):
        return _present(of_type.of_type, definitions)
    return {"anyOf": [_present(of_type, definitions), {"type": "null"}]}


def _present(of_type: GraphQLType, definitions: dict[str, Any]) -> dict[str, Any]:
    if isinstance(of_type, GraphQLList):
        return {"type": "array", "items": _described(of_type.of_type, definitions)}
    named = get_named_type(of_type)
    if isinstance(named, GraphQLInputObjectType):
        if named.name not in definitions:
            definitions[named.name] = {}  # An input may hold itself.
            definitions[named.name] = _input(named, definitions)
        return {"$ref": f"#/$defs/{named.name}"}
    if isinstance(named, GraphQLEnumType):
        return {"type": "string", "enum": list(named.values), **dict(_about(named.description))}
    return {"type": _SCALARS.get(named.name, "string"), **dict(_about(named.description))}


def _input(of_type: GraphQLInputObjectType, definitions: dict[str, Any]) -> dict[str, Any]:
    properties = {
        name: {**_described(one.type, definitions), **dict(_about(one.description))}
        for name, one in of_type.fields.items()
    }
    required = [
        name
        for name, one in of_type.fields.items()
        if isinstance(one.type, GraphQLNonNull) and one.default_value is Undefined
    ]
    described = {"type": "object", "properties": properties, "additionalProperties": False}
    return described | ({"required": required} if required else {}) | dict(_about(of_type.description))


def _about(description: str | None) -> Iterator[tuple[str, str]]:
    if description:
        yield "description", " ".join(description.split())
