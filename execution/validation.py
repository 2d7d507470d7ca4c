"""Validation: does the same as graphql-core, for rules that are the same for every document.

graphql-core looks up the methods of every rule for every kind of node, again in each document. Here they are looked up
once per class of rules, and only rules with a method for a node are called with it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from graphql import (
    BREAK,
    SKIP,
    ASTValidationRule,
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    Node,
    ParallelVisitor,
    TypeInfo,
    TypeInfoVisitor,
    ValidationContext,
    VisitorAction,
    visit,
)
from graphql.language.visitor import EnterLeaveVisitor
from graphql.validation.validate import (
    FragmentNestingVisitor,
    ValidationAbortedError,
    query_document_keys_to_validate,
)

from execution.slices import breathe

Rules = tuple[type[ASTValidationRule], ...]
Method = Callable[..., VisitorAction]

_NOTHING: Final = EnterLeaveVisitor(None, None)


def _method(rule: type[ASTValidationRule], name: str, kind: str) -> str | None:
    return next((one for one in (f"{name}_{kind}", name) if getattr(rule, one, None)), None)


@lru_cache(maxsize=1_024)
def _methods(rules: Rules, kind: str) -> tuple[tuple[int, str | None, str | None], ...]:
    """(index of the rule, its method to enter a node of the kind, its method to leave the node)."""
    found = ((index, _method(rule, "enter", kind), _method(rule, "leave", kind)) for index, rule in enumerate(rules))
    return tuple(one for one in found if one[1] or one[2])


class _Rules(ParallelVisitor):
    """Runs all rules at once. A rule that skips a node sees nothing below the node."""

    def __init__(self, rules: Rules, context: ValidationContext) -> None:
        super().__init__([rule(context) for rule in rules])
        self._rules = rules
        self._all = tuple(self.visitors)

    def get_enter_leave_for_kind(self, kind: str) -> EnterLeaveVisitor:
        known = self.enter_leave_map.get(kind)
        if known is None:
            known = self.enter_leave_map[kind] = self._bound(_methods(self._rules, kind))
        return known

    def _method(self, index: int, name: str | None) -> Method | None:
        return None if name is None else getattr(self._all[index], name)

    def _bound(self, methods: tuple[tuple[int, str | None, str | None], ...]) -> EnterLeaveVisitor:
        if not methods:
            return _NOTHING
        found = [
            (
                index,
                getattr(self._all[index], enter) if enter else None,
                getattr(self._all[index], leave) if leave else None,
            )
            for index, enter, leave in methods
        ]
        skipping = self.skipping
        entered = [(index, enter) for index, enter, _ in found if enter is not None]
        left = [(index, leave) for index, _, leave in found]

        def enter(node: Node, *args: Any) -> None:
            for index, method in entered:
                if not skipping[index]:
                    result = method(node, *args)
                    if result is not None:
                        skipping[index] = node if result is SKIP else result

        def leave(node: Node, *args: Any) -> None:
            for index, method in left:
                skipped = skipping[index]
                if skipped is node:
                    skipping[index] = None
                elif not skipped and method is not None and method(node, *args) is BREAK:
                    skipping[index] = BREAK

        return EnterLeaveVisitor(enter if entered else None, leave)


class _Types(TypeInfo):
    """Every walk of a document enters each node here, those that rules make too."""

    def enter(self, node: Node) -> None:
        breathe()
        super().enter(node)


def validate(
    schema: GraphQLSchema, ast: DocumentNode, rules: Rules, max_errors: int, *, hide_suggestions: bool = False
) -> list[GraphQLError]:
    """Returns the errors of a document; empty if it is valid. Raises RecursionError if fragments are nested too
    deeply."""
    errors: list[GraphQLError] = []
    types = _Types(schema)

    def add(error: GraphQLError) -> None:
        if len(errors) >= max_errors:
            raise ValidationAbortedError("Too many validation errors, error limit reached. Validation aborted.")
        errors.append(error)

    context = ValidationContext(schema, ast, types, add, hide_suggestions)
    fragments = {one.name.value: one for one in ast.definitions if isinstance(one, FragmentDefinitionNode)}
    if fragments:
        visit(ast, FragmentNestingVisitor(fragments))
    try:
        visit(ast, TypeInfoVisitor(types, _Rules(rules, context)), query_document_keys_to_validate)
    except ValidationAbortedError as error:
        errors.append(error)
    return errors
