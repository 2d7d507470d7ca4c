"""Kept answers to introspection are bounded in bytes and in number."""

from __future__ import annotations

import orjson
import pytest
from graphql import parse

from execution import introspection
from execution.documents import Document, Operation
from execution.introspection import SchemaAnswers, asks_only_the_schema


def _operation(text: str) -> Operation:
    return Document(parse(text)).operation(None)


def test_the_oldest_answers_go_when_there_are_too_many_bytes() -> None:
    answers = SchemaAnswers(max_bytes=100)
    operations = [_operation("{ __typename }") for _ in range(5)]
    for operation in operations:
        answers.keep(operation, "x" * 38)
    assert [answers.find(one) is not None for one in operations] == [False, False, False, True, True]
    answers.keep(operations[0], "x" * 200)  # longer than all that may be kept
    assert answers.find(operations[0]) is None
    kept = answers.find(operations[4])
    assert kept is not None
    assert orjson.dumps(kept) == orjson.dumps("x" * 38)


def test_the_number_of_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspection, "MAX_ANSWERS", 2)
    answers = SchemaAnswers()
    operations = [_operation("{ __typename }") for _ in range(3)]
    for operation in operations:
        answers.keep(operation, {})
    assert [answers.find(one) is not None for one in operations] == [False, True, True]


@pytest.mark.parametrize(
    ("text", "only"),
    [
        ("{ __schema { types { name } } }", True),
        ('{ __type(name: "Query") { name } t: __typename }', True),
        ("{ __typename @skip(if: true) }", True),
        ("query ($if: Boolean!) { __typename @skip(if: $if) }", False),
        ("query ($name: String!) { __type(name: $name) { name } }", False),
        ("{ __typename viewer { scope } }", False),
        ("{ ...A } fragment A on Query { __typename }", False),
        ("mutation { __typename }", False),
    ],
)
def test_only_the_schema_decides_the_answer(text: str, only: bool) -> None:
    assert asks_only_the_schema(_operation(text)) == only
