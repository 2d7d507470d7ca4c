from __future__ import annotations

import time

import pytest
from graphql import GraphQLFormattedError, build_schema

from execution.documents import MAX_REFUSALS, DocumentRefused, Documents, Refusal
from execution.limits import Limits

SCHEMA = build_schema("type Query { me: Query! name: String }")


def _documents(**limits: int) -> Documents:
    return Documents(SCHEMA, Limits(**limits), capacity=2)


def _refused(documents: Documents, text: str) -> tuple[Refusal, list[str]]:
    with pytest.raises(DocumentRefused) as caught:
        documents.get(text)
    return caught.value.refusal, [error.message for error in caught.value.errors]


def _nested(depth: int) -> str:
    return "{ " + "me { " * (depth - 1) + "name" + " }" * depth


@pytest.mark.parametrize(
    ("within", "beyond", "message"),
    [
        (_nested(10), _nested(11), "the operation has 11 levels of fields, at most 10 are allowed"),
        (
            "{ a: name b: name c: name }",
            "{ a: name b: name me { c: name d: name } }",
            "the operation has 4 aliases, at most 3 are allowed",
        ),
        (
            "{ name @skip(if: true) ...F } fragment F on Query { name @skip(if: true) }",
            "{ name @skip(if: true) ...F ...F } fragment F on Query { name @skip(if: true) }",
            "the operation has 3 directives, at most 2 are allowed",
        ),
    ],
    ids=["depth", "aliases", "directives"],
)
def test_the_limits_are_exact(within: str, beyond: str, message: str) -> None:
    documents = _documents(max_aliases=3, max_directives=2)
    documents.get(within)
    assert _refused(documents, beyond) == (Refusal.TOO_COMPLEX, [message])


def test_tokens_are_counted_before_anything_is_parsed() -> None:
    documents = _documents(max_tokens=100)
    documents.get("{ " + ("me { " + "name " * 19 + "} ") * 4 + "name " * 10 + "}")
    refusal, (message,) = _refused(documents, "{ " + "name " * 99 + "}")
    assert refusal == Refusal.TOO_COMPLEX
    assert "100 tokens" in message


def test_repetitions_of_a_field_are_limited() -> None:
    """Validation compares each with each."""
    documents = _documents()
    documents.get("{ " + "name " * 20 + "}")
    refusal, (message,) = _refused(documents, "{ me { " + "name " * 21 + "} }")
    assert refusal == Refusal.TOO_COMPLEX
    assert message == "the operation has 21 fields of the same name in one selection, at most 20 are allowed"


def test_fragments_in_fragments_are_measured_in_linear_time() -> None:
    levels = " ".join(
        f"fragment F{number} on Query {{ me {{ ...F{number + 1} }} me {{ ...F{number + 1} }} }}" for number in range(60)
    )
    bomb = "{ ...F0 } " + levels + " fragment F60 on Query { name }"
    started = time.perf_counter()
    refusal, _ = _refused(_documents(), bomb)
    assert refusal == Refusal.TOO_COMPLEX
    # Not a measurement: expanding every spread would take 2^60 steps.
    assert time.perf_counter() - started < 5


def test_fragment_cycles_are_refused() -> None:
    refusal, messages = _refused(_documents(), "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }")
    assert refusal == Refusal.INVALID
    assert any("Cannot spread fragment" in message for message in messages)


def test_nesting_beyond_the_stack_is_refused() -> None:
    documents = Documents(SCHEMA, Limits(max_depth=100, max_tokens=100_000), capacity=0)
    refusal, _ = _refused(documents, "{ name(x: " + "[" * 40_000 + "]" * 40_000 + ") }")
    assert refusal == Refusal.TOO_COMPLEX


def test_cache_keeps_recently_used_documents_and_no_refused_ones() -> None:
    documents = _documents()
    first, second = documents.get("{ name }"), documents.get("{ me { name } }")
    assert documents.get("{ name }") is first
    _refused(documents, "{ nothing }")
    documents.get("{ __typename }")
    assert documents.get("{ name }") is first
    assert documents.get("{ me { name } }") is not second


def test_introspection_is_within_the_limits() -> None:
    from graphql import get_introspection_query

    _documents().get(get_introspection_query(input_value_deprecation=True, specified_by_url=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{ __schema { a: types { name } types { name } } }", "1 aliases in introspection, at most 0 are allowed"),
        (
            "{ __schema { types { ...F ...F } } } fragment F on __Type { a: fields { name } }",
            "2 aliases in introspection, at most 0 are allowed",
        ),
        (
            "{ __schema { types { " + "name " * 21 + "} } }",
            "21 fields of the same name in one selection, at most 20 are allowed",
        ),
        ("{ __schema { types { name " + "@skip(if: false) " * 51 + "} } }", "51 directives, at most 50 are allowed"),
    ],
    ids=["aliases", "fragments", "repetitions", "directives"],
)
def test_introspection_multiplies_nothing(text: str, message: str) -> None:
    """Its weight is that of the schema read once."""
    assert _refused(_documents(), text) == (Refusal.TOO_COMPLEX, [f"the operation has {message}"])
    _documents().get('{ a: __type(name: "Query") { name } b: __type(name: "String") { name } }')


def test_a_refused_document_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = _documents()
    texts = ["{ me { nothing } }", "{ me {", "{ " + "name " * 30 + "}"]

    def refused(text: str) -> tuple[Refusal, list[GraphQLFormattedError]]:
        with pytest.raises(DocumentRefused) as caught:
            documents.get(text)
        return caught.value.refusal, [error.formatted for error in caught.value.errors]

    first = [refused(text) for text in texts]
    assert [refusal for refusal, _ in first] == [Refusal.INVALID, Refusal.SYNTAX, Refusal.TOO_COMPLEX]
    monkeypatch.setattr(documents, "_checked", None)
    assert [refused(text) for text in texts] == first

    monkeypatch.undo()
    for number in range(MAX_REFUSALS):
        refused(f"{{ a{number} }}")
    monkeypatch.setattr(documents, "_checked", None)
    with pytest.raises(TypeError):
        documents.get(texts[0])  # forgotten
