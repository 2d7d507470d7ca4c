"""Planner: makes the plan of an operation. `execution.plans` runs plans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from graphql import (
    GraphQLError,
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    is_abstract_type,
    is_leaf_type,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_fields, collect_subfields
from graphql.execution.values import VariableValues

from execution.attributes import ROWS
from execution.calls import attribute_of, definition_of, method_of
from execution.native import Writer
from execution.plans import AbstractCompletion, Completion, Field, ListCompletion, ObjectCompletion, Plan, Selection
from execution.projections import may_read_below, projection_below
from execution.slices import breathe
from execution.subtrees import LaterField, PureField


class Whole(NamedTuple):
    """A value that one function serializes. `selection` names the function for the objects in the value, if any."""

    selection: str | None


class Planner:
    """Makes the plan of one operation. graphql-core itself decides which fields are selected."""

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: dict[str, FragmentDetails],
        operation: OperationDefinitionNode,
        variables: VariableValues,
        writer: Writer,
    ) -> None:
        self._schema = schema
        self._fragments = fragments
        self._operation = operation
        self._variables = variables
        self._writer = writer
        self._to_bind: list[tuple[Selection | Completion, str]] = []
        self._fields = 0
        self._compiled = 0

    def plan(self) -> Plan:
        root_type = self._schema.get_root_type(self._operation.operation)
        if root_type is None:
            msg = f"Schema is not configured to execute {self._operation.operation.value} operation."
            raise GraphQLError(msg, self._operation)
        collected = collect_fields(self._schema, self._fragments, self._variables, root_type, self._operation)
        root, _ = self._selection(root_type, collected.grouped_field_set)
        functions = self._writer.built()
        for one, name in self._to_bind:
            one.quick = functions[name]
        if self._operation.operation == OperationType.MUTATION:
            for field in root.fields:
                field.may_read_below = may_read_below(field)
        return Plan(root, self._operation, self._fields, self._compiled)

    def _selection(
        self, type_: GraphQLObjectType, grouped: Mapping[str, list[FieldDetails]]
    ) -> tuple[Selection, str | None]:
        """Returns the selection, and the name of the function that serializes the whole object, if there is one."""
        fields = [
            self._field(type_, key, details, field)
            for key, details in grouped.items()
            if (field := self._schema.get_field(type_, details[0].node.name.value)) is not None
        ]
        selection = Selection(type_, fields)
        selection.later = [field for field in fields if field.pure is None]
        if len(selection.later) == len(fields) and fields:
            return selection, None
        name = self._writer.object_function(type_, [field.pure or LaterField(field.key) for field in fields])
        self._to_bind.append((selection, name))
        return selection, None if selection.later else name

    def _field(self, parent: GraphQLObjectType, key: str, details: list[FieldDetails], field: GraphQLField) -> Field:
        breathe()
        made = Field(parent, key, details, field)
        self._fields += 1
        if details[0].node.name.value == "__typename":
            self._compiled += 1
            made.pure = PureField(key, field.type, None, None, parent.name, None)
            return made
        definition = definition_of(field)
        if definition is None:
            return made
        self._compiled += 1
        completion, whole = self._completion(field.type, details)
        made.compile(definition, completion, self._schema)
        rows = definition.metadata.get(ROWS)
        if rows is not None:
            made.narrow(projection_below(made, rows))
        attribute, method = attribute_of(definition), method_of(definition)
        if (attribute is not None or method is not None) and whole is not None:
            made.pure = PureField(key, field.type, attribute, method, None, whole.selection)
        return made

    def _completion(self, type_: GraphQLOutputType, details: list[FieldDetails]) -> tuple[Completion, Whole | None]:
        inner: Any = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
        completion: Completion
        whole: Whole | None
        if isinstance(inner, GraphQLList):
            item, whole = self._completion(inner.of_type, details)
            completion = ListCompletion(type_, item)
        elif is_leaf_type(inner):
            completion, whole = Completion(type_), Whole(None)
        elif is_abstract_type(inner):
            possible = self._schema.get_possible_types(inner)
            selections = {one.name: self._subselection(one, details)[0] for one in possible}
            completion, whole = AbstractCompletion(type_, inner, selections), None
        else:
            selection, function = self._subselection(inner, details)
            completion, whole = ObjectCompletion(type_, selection), None if function is None else Whole(function)
        if whole is not None:
            self._to_bind.append((completion, self._writer.value_function(type_, whole.selection)))
        return completion, whole

    def _subselection(self, type_: GraphQLObjectType, details: list[FieldDetails]) -> tuple[Selection, str | None]:
        collected = collect_subfields(self._schema, self._fragments, self._variables, self._operation, type_, details)
        return self._selection(type_, collected.grouped_field_set)
