"""Inputs: values of an operation's variables and of a field's arguments. Their types are inspected once.

Unexpected values are left to graphql-core, which creates its own errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from graphql import (
    ArgumentNode,
    FieldNode,
    GraphQLError,
    GraphQLField,
    GraphQLScalarType,
    GraphQLSchema,
    ListValueNode,
    ObjectValueNode,
    Undefined,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    get_argument_values,
    get_nullable_type,
    get_variable_values,
    is_non_null_type,
    is_required_argument,
)
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.execution.values import VariableValues, VariableValueSource
from strawberry.types.arguments import convert_argument, convert_arguments
from strawberry.types.field import StrawberryField

from execution.coercion import Read, Unconvertible, coercer, converter
from execution.limits import ListTooLong

MAX_VARIABLE_ERRORS: Final = 50


class _Variable(NamedTuple):
    signature: GraphQLVariableSignature
    default: Any
    """Undefined if an omitted variable needs closer inspection; `_ABSENT` if it stays without a value."""
    read: Read


_ABSENT: Final = object()


class Variables:
    """The variables of one operation."""

    def __init__(self, schema: GraphQLSchema, definitions: Sequence[VariableDefinitionNode]) -> None:
        self._schema = schema
        self._definitions = definitions
        signatures = [get_variable_signature(schema, one) for one in definitions]
        self._known = [
            _Variable(one, self._default(one, definition), coercer(one.type))
            for one, definition in zip(signatures, definitions, strict=True)
            if not isinstance(one, GraphQLError)
        ]
        self._strange = len(self._known) < len(definitions)

    def _default(self, signature: GraphQLVariableSignature, definition: VariableDefinitionNode) -> Any:
        if definition.default_value is None:
            return Undefined if is_non_null_type(signature.type) else _ABSENT
        alone = get_variable_values(self._schema, [definition], {})
        return Undefined if isinstance(alone, list) else alone.coerced.get(signature.name, Undefined)

    def values(self, given: Mapping[str, Any]) -> VariableValues | list[GraphQLError]:
        try:
            return self._quick(given) or get_variable_values(
                self._schema, self._definitions, dict(given), max_errors=MAX_VARIABLE_ERRORS
            )
        except ListTooLong as error:
            # Its traceback would keep the list for as long as the error lives.
            return [GraphQLError(str(error), original_error=error.with_traceback(None))]

    def _quick(self, given: Mapping[str, Any]) -> VariableValues | None:
        if self._strange:
            return None
        sources: dict[str, VariableValueSource] = {}
        coerced: dict[str, Any] = {}
        for signature, default, read in self._known:
            name = signature.name
            value = given.get(name, Undefined)
            if value is Undefined:
                if default is Undefined:
                    return None
                sources[name] = VariableValueSource(signature)
                if default is not _ABSENT:
                    coerced[name] = default
                continue
            found = read(value)
            if found is Undefined:
                return None
            sources[name] = VariableValueSource(signature, value)
            coerced[name] = found
        return VariableValues(sources, coerced)


def uses_variables(arguments: Iterable[ArgumentNode]) -> bool:
    return any(_has_variable(one.value) for one in arguments)


def _has_variable(value: ValueNode) -> bool:
    if isinstance(value, ListValueNode):
        return any(map(_has_variable, value.values))
    if isinstance(value, ObjectValueNode):
        return any(_has_variable(field.value) for field in value.fields)
    return isinstance(value, VariableNode)


class _FromVariable(NamedTuple):
    variable: str
    python_name: str
    convert: Read | None
    """None if the resolver takes the value unchanged."""
    required: bool


class Arguments:
    """The arguments of one field, by their Python names, with input objects as Strawberry instances."""

    def __init__(
        self, schema: GraphQLSchema, field: GraphQLField, node: FieldNode, definition: StrawberryField
    ) -> None:
        converter = schema._strawberry_schema.schema_converter  # type: ignore[attr-defined]  # noqa: SLF001
        self._registry, self._config = converter.scalar_registry, converter.config
        self._field = field
        self._node = node
        self._definition = definition
        self.constant: Mapping[str, Any] | None = None
        """All arguments, if none is a variable. None also if they are invalid, which each run of the field then
        reports."""
        self._others: Mapping[str, Any] | None = None
        """Arguments that are not variables, and defaults of those that are. None means that each run inspects them
        again."""
        self._from_variables: list[_FromVariable] = []
        try:
            if not uses_variables(node.arguments or ()):
                self.constant = self._made(VariableValues({}, {}))
            elif self._all_direct():
                self._others = self._without_variables()
        except Exception:  # noqa: BLE001, S110  each run reports the invalid argument
            pass

    def _without_variables(self) -> Mapping[str, Any]:
        """Returns the arguments that are not variables, and the defaults of those that are."""
        ours = [one for one in self._node.arguments or () if not isinstance(one.value, VariableNode)]
        required = {
            one.name.value
            for one in self._node.arguments or ()
            if isinstance(one.value, VariableNode) and is_required_argument(self._field.args[one.name.value])
        }
        field = GraphQLField(
            self._field.type, {name: one for name, one in self._field.args.items() if name not in required}
        )
        node = FieldNode(name=self._node.name, arguments=tuple(ours))
        return self._converted(get_argument_values(field, node, VariableValues({}, {})))

    def _all_direct(self) -> bool:
        """Returns whether each variable is the whole value of an argument. Also notes these arguments."""
        by_name = {self._config.name_converter.from_argument(one): one for one in self._definition.arguments}
        for argument in self._node.arguments or ():
            value, name = argument.value, argument.name.value
            if not isinstance(value, VariableNode):
                if uses_variables((argument,)):
                    return False
                continue
            type_ = self._field.args[name].type
            plain = isinstance(get_nullable_type(type_), GraphQLScalarType)
            ours = by_name[name]
            self._from_variables.append(
                _FromVariable(
                    value.name.value,
                    ours.python_name,
                    None if plain else self._converter(ours.type),
                    is_non_null_type(type_),
                )
            )
        return True

    def _converter(self, type_: Any) -> Read:
        try:
            return converter(type_, self._config, self._registry)
        except Unconvertible:
            return lambda value: convert_argument(value, type_, self._registry, self._config)

    def values(self, variables: VariableValues) -> Mapping[str, Any]:
        """Returns the arguments. Raises the errors of graphql-core and Strawberry for invalid values."""
        if self._others is None:
            return self._made(variables)
        coerced = variables.coerced
        found = dict(self._others)
        for variable, python_name, convert, required in self._from_variables:
            value = coerced.get(variable, Undefined)
            if value is None and required:
                return self._made(variables)
            if value is Undefined:
                if required:
                    return self._made(variables)
                continue
            found[python_name] = value if convert is None else convert(value)
        return found

    def _made(self, variables: VariableValues) -> Mapping[str, Any]:
        if not (self._field.args or self._node.arguments):
            return {}
        return self._converted(get_argument_values(self._field, self._node, variables))

    def _converted(self, values: dict[str, Any]) -> Mapping[str, Any]:
        return convert_arguments(
            values, self._definition.arguments, scalar_registry=self._registry, config=self._config
        )
