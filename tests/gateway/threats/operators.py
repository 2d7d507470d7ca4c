from __future__ import annotations

from typing import Final

from tests.gateway.threats.probes import FORBIDDEN, NO_KEY, Group, Held, Probe, get, query

OPERATORS: Final = Group(
    "Operators",
    [
        Probe(
            "audit by a customer",
            "A customer reads what operators did.",
            "`auditEntries` with a MANAGE key",
            query("{ auditEntries { nodes { id } } }", key="<manage>"),
            FORBIDDEN,
        ),
        Held(
            "Somebody who is not an operator signs in by OpenID Connect.",
            "people who are not listed, whose address is not verified or not there",
            "403 `FORBIDDEN`, no key",
            "tests/gateway/test_staff_sign_in.py::test_an_unconfirmed_identity_is_refused",
        ),
        Held(
            "A forged or stolen answer of the identity provider signs in.",
            "tokens of another issuer, client, nonce, time or signing key; an answer with another state, or twice",
            "401 `UNAUTHENTICATED`, no key",
            "tests/gateway/test_staff_sign_in.py::test_an_unconfirmed_identity_is_refused",
        ),
        Probe(
            "finding by a customer",
            "A customer finds other accounts by guessed ids.",
            '`find(id: "cus_1")` with a MANAGE key',
            query('{ find(id: "cus_1") { account { id } } }', key="<manage>"),
            FORBIDDEN,
        ),
        Probe(
            "activity by a read key",
            "A READ key sees who works with the account.",
            "`account { activity }` with a READ key",
            query("{ account { activity { nodes { id } } } }", key="<read>"),
            FORBIDDEN,
        ),
        Held(
            "A customer reads why an operator suspended the account, or who the operator is.",
            "`account { activity }` with a MANAGE key",
            "no reason, no owner of the operator's key",
            "tests/gateway/mutations/test_activity.py::test_an_owner_sees_what_was_done_by_whom",
        ),
        Probe(
            "metrics without a token",
            "Anyone reads the metrics.",
            "`GET /metrics` without the token of `BILLING_METRICS_TOKEN`",
            get("/metrics", key=None),
            NO_KEY,
        ),
        Probe(
            "metrics by another spelling",
            "Another spelling of a path passes a proxy's rule.",
            "`GET /%6Detrics`",
            get("/%6Detrics", key=None),
            NO_KEY,
        ),
        Probe(
            "metrics with a key",
            "An API key reads the metrics.",
            "`GET /metrics` with an OPERATOR key",
            get("/metrics", key="<operator>"),
            NO_KEY,
        ),
        Held(
            "A scope does more than it should.",
            "every mutation with a key of every scope",
            "`FORBIDDEN`, or the payload",
            "tests/gateway/mutations/test_scopes.py::test_each_scope_may_call_its_operations",
        ),
        Held(
            "A new mutation is open to every scope.",
            "every mutation of the schema",
            "a line in the table of scopes",
            "tests/gateway/mutations/test_scopes.py::test_every_mutation_is_in_the_matrix_and_fails_as_a_whole",
        ),
        Held(
            "An operator whose key was revoked goes on.",
            "a mutation within the time that keys are cached",
            "`UNAUTHENTICATED`",
            "tests/gateway/mutations/test_operators.py::test_a_key_that_was_revoked_a_moment_ago_does_nothing_more",
        ),
        Held(
            "A command leaves no trace.",
            "commands that create accounts and keys",
            "entries in `auditEntries`",
            "tests/gateway/mutations/test_operators.py::test_actions_of_the_command_line_are_listed",
        ),
        Held(
            "A key is shown again.",
            "`createApiKey`, sent again with the same idempotency key",
            "the key is shown once",
            "tests/gateway/mutations/test_api_keys.py::test_a_key_is_made_and_shown_once",
        ),
    ],
)
