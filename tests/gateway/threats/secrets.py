from __future__ import annotations

from typing import Final

from tests.gateway.threats.probes import NOT_FOUND, Expected, Group, Held, Probe, get

SECRETS: Final = Group(
    "Secrets in logs and errors",
    [
        Probe(
            "versions",
            "Versions tell which attacks work.",
            "`GET /healthz`",
            get("/healthz", key=None),
            Expected(200, headers=(("Server", "billing-gateway"),), without=("X-Powered-By", "Via")),
        ),
        Probe(
            "request id",
            "A client writes lines into the log.",
            '`X-Request-Id: {"level":"error"}`',
            get("/nothing", 'X-Request-Id: {"level":"error"}', key=None),
            NOT_FOUND,
        ),
        Probe(
            "key in a path",
            "A key in a path reaches the answer and the log.",
            "`GET /<read key>`",
            get("/<read>", key=None),
            NOT_FOUND,
        ),
        Held(
            "The log has keys, tokens or secrets.",
            "every probe of this page",
            "none in the answer, none in the log; no line of level error",
            "tests/gateway/test_threats.py::test_threat",
        ),
        Held(
            "An error tells about the database.",
            "every kind of database error",
            "a code and a message without details",
            "tests/gateway/test_errors.py::test_each_database_error_has_its_code",
        ),
        Held(
            "An error repeats the password of the database.",
            "a database URL that cannot be used",
            "a message without the URL",
            "tests/gateway/test_commands.py::test_a_database_url_that_can_t_be_used_is_refused_without_repeating_it",
        ),
        Held(
            "An error or the log repeats the password of Redis.",
            "a URL that cannot be used, and a Redis that is stopped",
            "a message without the URL",
            "tests/gateway/limits/test_shared_rates.py::test_a_url_that_cannot_be_used_is_refused_without_repeating_it",
        ),
    ],
)
