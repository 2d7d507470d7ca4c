from __future__ import annotations

from typing import Final
from urllib.parse import quote

from tests.gateway.threats.probes import BAD_INPUT, NO_ROWS, NOT_FOUND, Expected, Group, Held, Probe, post, query, rows

PARSING: Final = Group(
    "Injection and parsing",
    [
        Probe(
            "SQL in a search",
            "A search is run as SQL.",
            "`?search=' OR 1=1 --`",
            rows("search=" + quote("' OR 1=1 --")),
            NO_ROWS,
        ),
        Probe(
            "SQL in a filter",
            "A filter is run as SQL.",
            "`?ref_id=x'; DROP TABLE transactions; --`",
            rows("ref_id=" + quote("x'; DROP TABLE transactions; --")),
            NO_ROWS,
        ),
        Probe("wildcards", "Wildcards in a search match everything.", "`?search=%_%`", rows("search=%25_%25"), NO_ROWS),
        Probe("NUL", "A NUL character fails in PostgreSQL.", "`?search=abc%00`", rows("search=abc%00"), BAD_INPUT),
        Probe(
            "UTF-8 in the address",
            "Bytes that are not UTF-8 become other characters.",
            "`?search=abc%FF`",
            rows("search=abc%FF"),
            BAD_INPUT,
        ),
        Probe(
            "surrogate",
            "A lone surrogate fails in the database or in the answer.",
            r'`{"query": …, "variables": {"id": "\ud800"}}`',
            post(
                "/graphql", rb'{"query": "query ($id: ID) { account(id: $id) { id } }", "variables": {"id": "\ud800"}}'
            ),
            BAD_INPUT,
        ),
        Probe(
            "large number",
            "A number overflows a column.",
            "`?amount_gte=` with 5,000 digits",
            rows("amount_gte=" + "9" * 5_000),
            BAD_INPUT,
        ),
        Probe(
            "exponent",
            "A short number takes much memory.",
            "`?amount_gte=1e999999999`",
            rows("amount_gte=1e999999999"),
            BAD_INPUT,
        ),
        Probe("not a number", "NaN compares with nothing.", "`?amount_gte=NaN`", rows("amount_gte=NaN"), BAD_INPUT),
        Probe(
            "last moment",
            "A time leaves the calendar when its zone is applied.",
            "`?created_at_gte=9999-12-31T23:59:59-23:59`",
            rows("created_at_gte=9999-12-31T23:59:59-23:59"),
            BAD_INPUT,
        ),
        Probe(
            "digits of another script",
            "Digits of another script pass a filter.",
            "`?limit=１`",
            rows("limit=%EF%BC%91"),
            BAD_INPUT,
        ),
        Probe(
            "large id",
            "An id overflows a column.",
            "`?account=acct_99999999999999999999`",
            rows("account=acct_99999999999999999999"),
            NOT_FOUND,
        ),
        Probe(
            "deep JSON",
            "Deep nesting exhausts the stack.",
            "a body of 100,000 `[`",
            post("/graphql", b"[" * 100_000),
            BAD_INPUT,
        ),
        Probe(
            "forged cursor",
            "A cursor that was made up reads at any position.",
            '`after: "AAAA"`',
            query('{ account { transactions(after: "AAAA") { nodes { id } } } }'),
            Expected(200, "BAD_CURSOR"),
        ),
        Probe(
            "parameter twice",
            "A proxy and the gateway read different values of a parameter.",
            "`?limit=1&limit=2`",
            rows("limit=1&limit=2"),
            BAD_INPUT,
        ),
        Probe(
            "unknown parameter",
            "A misspelled filter returns all rows.",
            "`?type=topup`",
            rows("type=topup"),
            BAD_INPUT,
        ),
        Probe(
            "other charset",
            "Another encoding hides characters from a filter.",
            "`Content-Type: application/json; charset=utf-7`",
            post("/graphql", {"query": "{ viewer { scope } }"}, content_type="application/json; charset=utf-7"),
            Expected(415, "UNSUPPORTED_MEDIA_TYPE"),
        ),
        Probe(
            "XML",
            "An XML body reads files by entities.",
            "`Content-Type: application/xml`",
            post(
                "/graphql",
                b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a/>',
                content_type="application/xml",
            ),
            Expected(415, "UNSUPPORTED_MEDIA_TYPE"),
        ),
        Held(
            "Texts in mutations, files and events carry control characters.",
            "NUL, surrogates, direction marks and line breaks in every text",
            "`BAD_USER_INPUT`, or the text is kept; NUL in events becomes U+FFFD",
            "tests/gateway/mutations/test_texts.py::test_texts_in_mutations_files_and_events",
        ),
    ],
)
