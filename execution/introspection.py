"""Answers to introspection, which are the same for everybody as long as the process runs."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import orjson
from graphql import FieldNode, OperationType

from execution.documents import Operation

MAX_BYTES: Final = 4 * 1_048_576
"""Maximum size of all kept answers."""
MAX_ANSWERS: Final = 100

_FIELDS: Final = frozenset({"__schema", "__type", "__typename"})


def asks_only_the_schema(operation: Operation) -> bool:
    """Whether nothing but the schema decides the answer. False for an operation with variables."""
    definition = operation.definition
    if operation.kind != OperationType.QUERY or definition.variable_definitions or operation.has_conditions:
        return False
    fields = definition.selection_set.selections
    return all(isinstance(one, FieldNode) and one.name.value in _FIELDS for one in fields)


class SchemaAnswers:
    """The data of the operations that were answered last, serialized."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Operation, bytes] = OrderedDict()
        self._bytes = 0

    def find(self, operation: Operation) -> orjson.Fragment | None:
        kept = self._kept.get(operation)
        if kept is None:
            return None
        self._kept.move_to_end(operation)
        return orjson.Fragment(kept)

    def keep(self, operation: Operation, data: object) -> None:
        answer = orjson.dumps(data)
        if operation in self._kept or len(answer) > self._max_bytes:
            return
        self._kept[operation] = answer
        self._bytes += len(answer)
        while self._bytes > self._max_bytes or len(self._kept) > MAX_ANSWERS:
            self._bytes -= len(self._kept.popitem(last=False)[1])
