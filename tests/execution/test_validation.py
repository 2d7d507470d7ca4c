"""Validation with methods that are looked up once finds what graphql-core's own finds, in the same order."""

from __future__ import annotations

import pytest
from graphql import GraphQLError, parse, specified_rules, validate

from execution import documents, validation
from execution.documents import Documents
from execution.limits import Limits
from schema.build import graphql_schema

RULES = documents._RULES

DOCUMENTS = [
    "{ viewer { scope } }",
    "{ viewer { scope { x } } account }",
    "{ nothing viewer { nothing } }",
    "{ a: viewer { scope } a: account { id } }",
    "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
    "{ ...A } fragment A on Account { id } fragment A on Account { id }",
    "query ($a: Int, $a: Int, $b: Nothing) { account(id: $a, ids: 1) { id } }",
    'query ($n: String) { account { transactions(first: $n, last: "x", filter: {nothing: 1, search: 2}) { nodes } } }',
    "{ account { id @include @skip(if: true) @skip(if: $x) @nothing } }",
    "subscription { balanceChanged { cursor } lowBalance { cursor } }",
    "query A { viewer { scope } } query A { viewer { scope } } { viewer { scope } }",
    '{ node(id: "x") { ... on Account { name } ... on UsageDay { day } ... on Nothing { x } } }',
    "{ " + " ".join(f"f{number}" for number in range(60)) + " }",
    "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
    "mutation { openHold { balance } openHold(input: {amount: 1}) { balance } }",
]


def _shown(errors: list[GraphQLError]) -> list[tuple[str, object]]:
    return [(error.message, error.locations) for error in errors]


@pytest.mark.parametrize("text", DOCUMENTS)
@pytest.mark.parametrize("hide_suggestions", [False, True])
def test_the_errors_are_the_same(text: str, hide_suggestions: bool) -> None:
    schema, ast = graphql_schema(), parse(text)
    ours = validation.validate(schema, ast, RULES, 20, hide_suggestions=hide_suggestions)
    assert _shown(ours) == _shown(validate(schema, ast, RULES, 20, hide_suggestions))


@pytest.mark.parametrize("text", [text for text in DOCUMENTS if "$" not in text])
def test_rules_of_variables_find_nothing_where_there_are_none(text: str) -> None:
    schema, ast = graphql_schema(), parse(text)
    rules = Documents(schema, Limits(), 0)._rules_without_variables
    assert len(rules) == len(RULES) - 5
    assert _shown(validation.validate(schema, ast, rules, 20)) == _shown(validate(schema, ast, RULES, 20))


def test_the_schema_has_no_directive_that_the_dropped_rules_are_about() -> None:
    assert {one.name for one in graphql_schema().directives}.isdisjoint({"defer", "stream"})
    assert len(RULES) == len(specified_rules) - 4 + 2
