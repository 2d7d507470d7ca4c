"""Smaller documents of which something is still true: what a failure needs, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from graphql import (
    REMOVE,
    ArgumentNode,
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    Node,
    ObjectFieldNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    parse,
    print_ast,
    visit,
)

_REMOVABLE: Final = (
    OperationDefinitionNode,
    FragmentDefinitionNode,
    FieldNode,
    InlineFragmentNode,
    FragmentSpreadNode,
    DirectiveNode,
    ArgumentNode,
    ObjectFieldNode,
    VariableDefinitionNode,
)


class _Without(Visitor):
    """Removes the removable node of that number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._left = number
        self.reached = False

    def enter(self, node: Node, *_: Any) -> Any:
        if isinstance(node, _REMOVABLE):
            self._left -= 1
            if self._left < 0 and not self.reached:
                self.reached = True
                return REMOVE
        return None


def _without(ast: DocumentNode, number: int) -> str | None:
    """The document without that node, or None where there are no more."""
    visitor = _Without(number)
    smaller = visit(ast, visitor)
    return print_ast(_tidied(smaller)) if visitor.reached else None


def _tidied(ast: DocumentNode) -> DocumentNode:
    """Without the fragments and variables that nothing uses any more."""
    spread: set[str] = set()
    used: set[str] = set()

    class Finder(Visitor):
        def enter_fragment_spread(self, node: FragmentSpreadNode, *_: Any) -> None:
            spread.add(node.name.value)

        def enter_variable(self, node: VariableNode, _key: Any, parent: Any, *_: Any) -> None:
            if not isinstance(parent, VariableDefinitionNode):
                used.add(node.name.value)

    class Remover(Visitor):
        def enter_fragment_definition(self, node: FragmentDefinitionNode, *_: Any) -> Any:
            return None if node.name.value in spread else REMOVE

        def enter_variable_definition(self, node: VariableDefinitionNode, *_: Any) -> Any:
            return None if node.variable.name.value in used else REMOVE

    visit(ast, Finder())
    return cast("DocumentNode", visit(ast, Remover()))


async def reduced(text: str, holds: Callable[[str], Awaitable[bool]]) -> str:
    """`holds` is asked for documents that parse, valid or not."""
    number = 0
    while (smaller := _without(parse(text), number)) is not None:
        if _parses(smaller) and await holds(smaller):
            text = smaller
        else:
            number += 1
    return text


def _parses(text: str) -> bool:
    try:
        ast = parse(text)
    except GraphQLError:
        return False
    return not _has_empty_selections(ast)


def _has_empty_selections(ast: DocumentNode) -> bool:
    """The parser lets them pass."""

    class Finder(Visitor):
        found = False

        def enter_selection_set(self, node: SelectionSetNode, *_: Any) -> None:
            self.found = self.found or not node.selections

    finder = Finder()
    visit(ast, finder)
    return finder.found
