from __future__ import annotations

from typing import Final

from tests.gateway.threats.probes import BAD_INPUT, HTML, Expected, Group, Held, Probe, get, post, rows

EXPORTS: Final = Group(
    "CSV, REST and exports",
    [
        Probe(
            "formula",
            "A description is a formula in a spreadsheet.",
            "an export of a row described as `=HYPERLINK(…)`",
            get("/billing/transactions.csv"),
            Expected(200, headers=(("Content-Type", "text/csv; charset=utf-8; header=present"),), body="'=HYPERLINK"),
        ),
        Probe(
            "export as a page",
            "A browser shows an export as a page and runs scripts in it.",
            "`GET /billing/usage.csv` with `Accept: text/html`",
            get("/billing/usage.csv", HTML),
            Expected(200, headers=(("Content-Disposition", 'attachment; filename="usage-<mine>.csv"'),)),
        ),
        Probe("page limit", "REST reads a million rows at once.", "`?limit=1001`", rows("limit=1001"), BAD_INPUT),
        Probe("negative limit", "A negative limit reads everything.", "`?limit=-1`", rows("limit=-1"), BAD_INPUT),
        Probe(
            "write by REST",
            "REST changes the ledger.",
            "`POST /billing/transactions`",
            post("/billing/transactions", {}),
            Expected(405, "METHOD_NOT_ALLOWED", (("Allow", "GET,HEAD"),)),
        ),
        Probe(
            "link to another path",
            "A link without a key opens any path.",
            "`POST /billing/export-links` for `/metrics`",
            post("/billing/export-links", {"address": "/metrics"}),
            BAD_INPUT,
        ),
        Probe(
            "link to another host",
            "A link of the gateway leads to another host.",
            "`POST /billing/export-links` for `https://evil.example/`",
            post("/billing/export-links", {"address": "https://evil.example/billing/usage.csv"}),
            BAD_INPUT,
        ),
        Held(
            "An export that failed looks complete.",
            "an error of the database after the first rows",
            "the connection is broken off",
            "tests/gateway/test_rest.py::test_an_error_midway_does_not_look_like_the_end",
        ),
        Held(
            "An export goes on after its key was revoked.",
            "a key that is revoked during an export",
            "the connection is broken off",
            "tests/gateway/test_rest.py::test_a_key_revoked_midway_ends_the_export",
        ),
        Held(
            "An export goes on after its client left.",
            "a client that closes its connection",
            "reading stops",
            "tests/gateway/test_rest.py::test_a_client_that_leaves_stops_the_export",
        ),
        Held(
            "A text in a PDF statement is run as markup.",
            "a description and a company name of Typst's markup",
            "the texts as they are",
            "tests/gateway/test_statements.py::test_a_statement_in_each_of_its_types",
        ),
        Held(
            "PDF statements take all processors or all memory, or go on after their client left.",
            "a typesetter that does not end",
            "one at a time for a key, `QUERY_TOO_COMPLEX` at the deadline, the process is ended",
            "tests/gateway/test_statements.py::test_a_process_ends_with_its_time_and_its_client",
        ),
        Held(
            "The typesetter learns the gateway's secrets.",
            "the environment of its process",
            "nothing but the path of Python's packages",
            "tests/gateway/test_statements.py::test_a_process_ends_with_its_time_and_its_client",
        ),
    ],
)
