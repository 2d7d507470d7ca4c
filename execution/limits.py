"""Limits: bounds on a document, counted with its fragments expanded where they are spread.

Each fragment is measured only once, so measuring nested fragments costs no more than the document has tokens, however
large the expansion would be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    TokenKind,
)

MAX_NUMBER_LENGTH: Final = 100
"""Far more than any type can hold. graphql-core parses all digits, and Python refuses numbers with thousands of
digits."""


MAX_REPETITIONS: Final = 20
"""Maximum number of times that one selection may contain the same field. Each spread fragment counts separately."""

MAX_INTROSPECTION_ALIASES: Final = 0
"""Below `__schema` and `__type`. Their weights are those of the schema read once, and no client reads it twice."""

MAX_LIST_ITEMS: Final = 10_000
"""Maximum length of a list in variables. Lists in a document are limited by its tokens."""


class ListTooLong(Exception):
    """A list in the variables has too many items. It is refused before the items are inspected."""

    def __init__(self, length: int) -> None:
        super().__init__(f"a list in the variables has {length} items, at most {MAX_LIST_ITEMS} are allowed")


@dataclass(frozen=True, slots=True)
class Limits:
    max_bytes: int = 65_536
    max_depth: int = 10
    max_aliases: int = 15
    max_directives: int = 50
    max_tokens: int = 1_000
    max_operations: int = 50


class _Size(NamedTuple):
    depth: int
    aliases: int
    directives: int
    repetitions: int = 0
    """How often a selection has the same field, for the field that it has most often."""
    introspection_aliases: int = 0


_NOTHING = _Size(0, 0, 0)


def _together(sizes: Iterator[_Size], repetitions: int = 0) -> _Size:
    depth = aliases = directives = introspection_aliases = 0
    for size in sizes:
        depth = max(depth, size.depth)
        repetitions = max(repetitions, size.repetitions)
        aliases += size.aliases
        directives += size.directives
        introspection_aliases += size.introspection_aliases
    return _Size(depth, aliases, directives, repetitions, introspection_aliases)


def _repetitions(selections: Sequence[SelectionNode]) -> int:
    """Returns how often the most frequent field is selected. Validation compares every pair of fields with the same
    name."""
    names = Counter((one.alias or one.name).value for one in selections if isinstance(one, FieldNode))
    return max(names.values(), default=0)


class _Measure:
    def __init__(self, document: DocumentNode) -> None:
        self._fragments = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        self._known: dict[str, _Size] = {}

    def operation(self, operation: OperationDefinitionNode) -> _Size:
        inner = self._selections(operation.selection_set)
        return inner._replace(directives=inner.directives + _count(operation.directives))

    def _selections(self, selections: SelectionSetNode | None) -> _Size:
        if selections is None:
            return _NOTHING
        nodes = selections.selections
        return _together((self._selection(one) for one in nodes), _repetitions(nodes) if len(nodes) > 1 else 1)

    def _selection(self, node: SelectionNode) -> _Size:
        own = _count(node.directives)
        if isinstance(node, FragmentSpreadNode):
            inner = self._fragment(node.name.value)
            return inner._replace(directives=inner.directives + own)
        if not isinstance(node, FieldNode):
            inner = self._selections(getattr(node, "selection_set", None))
            return inner._replace(directives=inner.directives + own)
        inner = self._selections(node.selection_set)
        if node.name.value in {"__schema", "__type"}:
            # Introspection queries are deep by nature. The number of tokens limits them.
            return _Size(1, bool(node.alias), inner.directives + own, inner.repetitions, inner.aliases)
        return inner._replace(
            depth=inner.depth + 1, aliases=inner.aliases + bool(node.alias), directives=inner.directives + own
        )

    def _fragment(self, name: str) -> _Size:
        if name not in self._known:
            self._known[name] = _NOTHING  # ends cycles, which validation refuses anyway
            fragment = self._fragments.get(name)
            if fragment is not None:
                inner = self._selections(fragment.selection_set)
                self._known[name] = inner._replace(directives=inner.directives + _count(fragment.directives))
        return self._known[name]


def _count(directives: tuple[DirectiveNode, ...] | None) -> int:
    return len(directives or ())


def exceeded(document: DocumentNode, limits: Limits) -> list[GraphQLError]:
    """Returns an error for each limit that the document exceeds."""
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    measure = _Measure(document)
    errors: list[GraphQLError] = []

    def check(found: int, limit: int, what: str, node: OperationDefinitionNode) -> None:
        if found > limit:
            shown = str(found) if found < 10**9 else "over a billion"
            errors.append(GraphQLError(f"the operation has {shown} {what}, at most {limit} are allowed", node))

    if len(operations) > limits.max_operations:
        msg = f"the document has {len(operations)} operations, at most {limits.max_operations} are allowed"
        return [GraphQLError(msg)]
    for operation in operations:
        size = measure.operation(operation)
        check(size.depth, limits.max_depth, "levels of fields", operation)
        check(size.aliases, limits.max_aliases, "aliases", operation)
        check(size.introspection_aliases, MAX_INTROSPECTION_ALIASES, "aliases in introspection", operation)
        check(size.directives, limits.max_directives, "directives", operation)
        check(size.repetitions, MAX_REPETITIONS, "fields of the same name in one selection", operation)
    return errors


def overlong_numbers(document: DocumentNode) -> list[GraphQLError]:
    """Returns an error for each number that is too long for any type."""
    assert document.loc is not None
    errors = []
    token = document.loc.start_token.next
    while token is not None:
        if token.kind in {TokenKind.INT, TokenKind.FLOAT} and len(token.value or "") > MAX_NUMBER_LENGTH:
            msg = f"a number of {len(token.value or '')} characters is too long for every type"
            errors.append(GraphQLError(msg, source=document.loc.source, positions=[token.start]))
        token = token.next
    return errors
