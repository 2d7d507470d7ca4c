"""Documents of the benchmark of unseen documents: all are valid, and none is like another."""

from __future__ import annotations

from graphql import parse, validate

from benchmarks.unseen import asked
from schema.build import graphql_schema


def test_documents_are_valid_and_each_is_another_one() -> None:
    schema = graphql_schema()
    documents = [asked(1, number).texts[0] for number in range(50)]
    assert [validate(schema, parse(one)) for one in documents] == [[]] * 50
    assert len({one.partition("{")[2] for one in documents}) == 50
    assert documents == [asked(1, number).texts[0] for number in range(50)]
    assert all(parse(asked(1, number).texts[1]) for number in range(50))
