from __future__ import annotations

from typing import Final

from tests.gateway.threats.probes import BAD_INPUT, TOO_COMPLEX, Expected, Group, Held, Probe, nested, post, query

DOCUMENTS: Final = Group(
    "GraphQL documents",
    [
        Probe("depth", "Nested fields multiply the work.", "11 levels of fields", query(nested(11)), TOO_COMPLEX),
        Probe(
            "aliases",
            "Aliases repeat an expensive field.",
            "16 aliases",
            query("{ " + " ".join(f"a{number}: viewer {{ scope }}" for number in range(16)) + " }"),
            TOO_COMPLEX,
        ),
        Probe(
            "directives",
            "Directives make validation slow.",
            "51 directives",
            query("{ viewer { scope " + "@include(if: true) " * 51 + "} }"),
            TOO_COMPLEX,
        ),
        Probe(
            "tokens", "A long document is slow to parse.", "1,001 tokens", query("{ " + "a " * 999 + "}"), TOO_COMPLEX
        ),
        Probe(
            "document bytes",
            "A long comment is slow to parse.",
            "a document of 65,537 bytes",
            query("{ viewer { scope } } #" + "x" * 65_515),
            TOO_COMPLEX,
        ),
        Probe(
            "equal fields",
            "Equal fields make the overlap rule quadratic.",
            "a field 21 times",
            query("{ viewer { " + "scope " * 21 + "} }"),
            TOO_COMPLEX,
        ),
        Probe(
            "operations",
            "A document has thousands of operations.",
            "51 operations",
            post(
                "/graphql",
                {
                    "query": " ".join(f"query q{number} {{ viewer {{ scope }} }}" for number in range(51)),
                    "operationName": "q0",
                },
            ),
            TOO_COMPLEX,
        ),
        Probe(
            "circle",
            "Fragments that contain each other never end.",
            "`fragment a` in `fragment b` in `fragment a`",
            query("{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }"),
            Expected(200, "GRAPHQL_VALIDATION_FAILED"),
        ),
        Probe(
            "page size",
            "A page of a million rows is read at once.",
            "`transactions(first: 1001)`",
            query("{ account { transactions(first: 1001) { nodes { id } } } }"),
            Expected(200, "BAD_USER_INPUT"),
        ),
        Probe(
            "batch",
            "A batch avoids the limits of one operation.",
            "a JSON array of two operations",
            post("/graphql", [{"query": "{ viewer { scope } }"}] * 2),
            BAD_INPUT,
        ),
        Probe(
            "nameless",
            "A client and the gateway choose different operations.",
            "two operations without `operationName`",
            query("query a { viewer { scope } } query b { viewer { scope } }"),
            Expected(200, "BAD_USER_INPUT"),
        ),
        Probe(
            "unknown directive",
            "Incremental delivery keeps a request open.",
            "`... @defer { viewer { scope } }`",
            query("{ ... @defer { viewer { scope } } }"),
            Expected(200, "GRAPHQL_VALIDATION_FAILED"),
        ),
        Probe(
            "surrogate in a document",
            "A lone surrogate in a literal fails in the database.",
            r'`account(id: "\ud800")`',
            query(r'{ account(id: "\ud800") { id } }'),
            Expected(200, "GRAPHQL_PARSE_FAILED"),
        ),
        Held(
            "An error repeats a megabyte of input.",
            "values of 5,000 characters",
            "a message of at most 501 characters",
            "tests/gateway/test_graphql_http.py::test_values_of_any_length_are_refused_and_not_repeated_in_full",
        ),
        Held(
            "Compiled execution answers otherwise than graphql-core.",
            "each mutation by both executors",
            "the same answers",
            "tests/gateway/mutations/test_transactions.py::test_both_executors_answer_alike",
        ),
    ],
)
