from __future__ import annotations

from typing import Final

from tests.gateway.threats.probes import (
    CHALLENGE,
    NO_KEY,
    NO_STORE,
    UNKNOWN_KEY,
    Expected,
    Group,
    Held,
    Probe,
    get,
    post,
    query,
    rows,
)

AUTHENTICATION: Final = Group(
    "Authentication",
    [
        Probe(
            "no key",
            "A client without a key reads the ledger.",
            "`GET /billing/transactions` without `Authorization`",
            rows(key=None),
            Expected(401, "UNAUTHENTICATED", (CHALLENGE, NO_STORE)),
        ),
        Probe(
            "no key, GraphQL",
            "A client without a key runs an operation.",
            "`POST /graphql` without `Authorization`",
            query("{ viewer { scope } }", key=None),
            Expected(401, "UNAUTHENTICATED", (CHALLENGE, NO_STORE)),
        ),
        Probe(
            "introspection without a key",
            "A client without a key reads the schema.",
            "`{ __schema { types { name } } }` without `Authorization`",
            query("{ __schema { types { name } } }", key=None),
            NO_KEY,
        ),
        Probe(
            "SDL without a key",
            "A client without a key reads the schema as text.",
            "`GET /graphql/schema.graphql` without `Authorization`",
            get("/graphql/schema.graphql", key=None),
            NO_KEY,
        ),
        Probe(
            "parser without a key",
            "A client without a key reaches the JSON and GraphQL parsers.",
            "a body that is not JSON, without `Authorization`",
            post("/graphql", b"[" * 100_000, key=None),
            NO_KEY,
        ),
        Probe(
            "basic",
            "A key is accepted by another scheme.",
            "`Authorization: Basic …` with a valid key",
            rows("", "Authorization: Basic <read>", key=None),
            NO_KEY,
        ),
        Probe(
            "key in the address",
            "A key in an address reaches logs and histories.",
            "`?access_token=` with a valid key",
            get("/billing/transactions?access_token=<read>", key=None),
            NO_KEY,
        ),
        Probe(
            "key in a cookie",
            "A browser sends a key by itself.",
            "`Cookie: billing_stream=` with a valid key",
            rows("", "Cookie: billing_stream=<read>", key=None),
            NO_KEY,
        ),
        Probe("unknown key", "An attacker guesses a key.", "a key that does not exist", rows(key=UNKNOWN_KEY), NO_KEY),
        Probe(
            "longer key", "Only the start of a key is compared.", "a valid key and an `x`", rows(key="<read>x"), NO_KEY
        ),
        Probe(
            "revoked key", "A leaked key is used after it was revoked.", "a revoked key", rows(key="<revoked>"), NO_KEY
        ),
        Probe("expired key", "A key is used after it expired.", "an expired key", rows(key="<expired>"), NO_KEY),
        Held(
            "The answer tells whether a guessed key exists.",
            "an unknown, a revoked and an expired key",
            "401 `UNAUTHENTICATED`, the same message",
            "tests/gateway/test_threats.py::test_unknown_revoked_and_expired_keys_get_the_same_answer",
        ),
        Held(
            "A cached key is accepted after it was revoked.",
            "a request after `keys revoke`",
            "401 `UNAUTHENTICATED`, after `BILLING_KEY_CACHE_SECONDS` at the latest",
            "tests/gateway/test_commands.py::test_workers_share_a_port_and_a_revocation_reaches_all",
        ),
        Held(
            "A WebSocket is opened without a key.",
            "`connection_init` with no key or an invalid key",
            "close code 4403",
            "tests/gateway/streams/test_websocket.py::test_without_a_valid_key_the_connection_is_forbidden",
        ),
        Held(
            "An operation runs before the WebSocket is authenticated.",
            "`subscribe` before `connection_ack`",
            "close code 4401",
            "tests/gateway/streams/test_websocket.py::test_nothing_is_executed_before_the_acknowledgement",
        ),
    ],
)
