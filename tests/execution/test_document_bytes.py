"""The memory that a document is counted with is at least what it takes, and the cache keeps to its bound."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from graphql.execution.values import VariableValues

from execution.documents import MAX_PLANS, Documents
from execution.executor import prepare
from execution.limits import Limits
from schema.build import graphql_schema
from schema.costs import WEIGHTS

SCHEMA: Final = graphql_schema()
PAGE: Final = (Path(__file__).parents[2] / "graphql/operations/BillingPage.graphql").read_text()
FIELDS: Final = "id name balance status createdAt monthlySummary { month totalCost grossCost refunded apiCalls }"
CONDITIONS: Final = range(5)
TIMES: Final = 3


def page(number: int) -> str:
    return PAGE.replace("query BillingPage", f"query Page{number}")


def small(number: int) -> str:
    return f"query Q{number} {{ viewer {{ scope }} }}"


def aliases(number: int) -> str:
    aliased = " ".join(f'a{one}: account(id: "acct_{number}") {{ {FIELDS} }}' for one in range(14))
    return f"query Q{number} {{ {aliased} }}"


def repeated(number: int) -> str:
    return f"query Q{number} {{ viewer {{ {'scope ' * 18} }} }}"


def long_text(number: int) -> str:
    return f'query Q{number} {{ account(id: "{"𝄞" * 15_000}") {{ id }} }}'


def conditions(number: int) -> str:
    given = " ".join(f"$v{one}: Boolean!" for one in CONDITIONS)
    fields = " ".join(f"a{one}: name @skip(if: $v{one})" for one in CONDITIONS)
    return f"query Q{number}({given}) {{ account {{ {FIELDS} {fields} }} }}"


def _use(documents: Documents, text: str) -> None:
    """As operations do: a plan of each combination of conditions."""
    for choice in range(MAX_PLANS if "$v0" in text else 1):
        operation = documents.get(text).operation(None)
        operation.variables(SCHEMA)
        values = {f"v{one}": bool(choice >> one & 1) for one in CONDITIONS}
        operation.plan(SCHEMA, VariableValues({}, values))
    documents.get(text)


@pytest.mark.parametrize("made", [page, small, aliases, repeated, long_text, conditions])
def test_a_document_takes_no_more_than_it_is_counted_with(made: Callable[[int], str]) -> None:
    documents = Documents(SCHEMA, Limits(max_tokens=2_000), capacity=1_000)
    _use(documents, made(0))
    texts = [made(number) for number in range(1, TIMES + 1)]
    counted_before = documents.bytes
    gc.collect()
    tracemalloc.start()
    for text in texts:
        _use(documents, text)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    counted = documents.bytes - counted_before
    assert taken <= counted, (taken // TIMES, counted // TIMES)
    # A bound that is far above what is really taken would waste the cache.
    assert counted <= 6 * taken, (taken // TIMES, counted // TIMES)


FOLLOW: Final = (
    "subscription ($after: String) { balanceChanged(after: $after) { ...F } } fragment F on BalanceChange { cursor }"
)
SCHEMA_QUERY: Final = "{ __schema { types { name } } }"
MUTATION: Final = 'mutation { revokeApiKey(input: {prefix: "a", idempotencyKey: "b"}) { apiKey { prefix } } }'


@pytest.mark.parametrize("text", [page(0), conditions(0), FOLLOW, SCHEMA_QUERY, MUTATION])
def test_a_document_that_is_given_up_leaves_nothing_to_the_garbage_collector(text: str) -> None:
    """It would not free it for days: documents live long, and the oldest objects are rarely searched."""
    documents = Documents(SCHEMA, Limits(), capacity=10)
    operation = documents.get(text).operation(None)
    prepare(SCHEMA, operation, dict.fromkeys((f"v{one}" for one in CONDITIONS), True), weights=WEIGHTS)
    assert operation.plan_count == 1
    gc.collect()
    gc.disable()
    del operation, documents
    left = gc.collect()
    gc.enable()
    assert left == 0


def test_the_cache_keeps_to_its_bytes() -> None:
    most = 2_000_000
    documents = Documents(SCHEMA, Limits(), capacity=100_000, max_bytes=most)
    first = documents.get(page(0))
    for number in range(200):
        documents.get(small(number))
        documents.get(page(1))
        assert documents.bytes <= most
    assert documents.get(page(0)) is not first
    assert documents.get(page(1)) is documents.get(page(1))


def test_plans_that_are_made_later_count() -> None:
    documents = Documents(SCHEMA, Limits(), capacity=10)
    documents.get(conditions(0))
    before = documents.bytes
    _use(documents, conditions(0))
    assert documents.bytes > 4 * before
    assert documents.bytes == documents.get(conditions(0)).estimated_bytes()


def test_a_document_that_is_larger_than_the_cache_runs_all_the_same() -> None:
    documents = Documents(SCHEMA, Limits(), capacity=10, max_bytes=1_000)
    assert documents.get(page(0)) is not documents.get(page(0))
    assert documents.bytes == 0
