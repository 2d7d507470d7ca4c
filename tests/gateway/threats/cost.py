from __future__ import annotations

import gzip
from typing import Final

from tests.gateway.threats.probes import (
    BAD_INPUT,
    SEVERAL_MEBIBYTES,
    SMUGGLED,
    TOO_COMPLEX,
    TOO_COSTLY,
    Expected,
    Group,
    Held,
    Probe,
    post,
    query,
)

COST: Final = Group(
    "Cost and floods",
    [
        Probe(
            "costly operation",
            "One operation takes seconds of processor time.",
            "15 aliased pages of 1,000 explained rows",
            query(
                "{ account { "
                + " ".join(
                    f"a{number}: transactions(first: 1000) {{ nodes {{ explanation }} }}" for number in range(15)
                )
                + " } }"
            ),
            TOO_COSTLY,
        ),
        Probe(
            "repeated introspection",
            "Introspection is repeated in one operation.",
            "9 aliases of `__schema`",
            query("{ " + " ".join(f"a{number}: __schema {{ types {{ name }} }}" for number in range(9)) + " }"),
            TOO_COSTLY,
        ),
        Probe(
            "aliased introspection",
            "Aliases multiply introspection below its weight.",
            "`__schema { types { a: fields { name } b: fields { name } } }`",
            query("{ __schema { types { a: fields { name } b: fields { name } } } }"),
            TOO_COMPLEX,
        ),
        Probe(
            "nested introspection",
            "Introspection in introspection grows without end.",
            "`fields { type { … } }` three times",
            query("{ __schema { types { " + "fields { type { " * 3 + "name" + " } }" * 3 + " } } }"),
            Expected(200, "GRAPHQL_VALIDATION_FAILED"),
        ),
        Probe(
            "long list",
            "A list in variables is slow to check.",
            "a list of 10,001 items",
            query(
                "query ($t: [TransactionType!]) { account { transactions(filter: {types: $t}) { totalCount } } }",
                t=["TOPUP"] * 10_001,
            ),
            TOO_COMPLEX,
        ),
        Probe(
            "large body",
            "A large body fills the memory.",
            "a body of 1 MiB and one byte",
            post("/graphql", b" " * 1_048_577),
            Expected(413, "PAYLOAD_TOO_LARGE"),
        ),
        Probe(
            "bytes after a compressed body",
            "Bytes after a compressed body are the next request.",
            "a gzip body and `GET /metrics`",
            post("/graphql", gzip.compress(b"{}", mtime=0) + SMUGGLED.encode(), "Content-Encoding: gzip"),
            BAD_INPUT,
        ),
        Probe(
            "compressed body",
            "A small body unpacks to a large one.",
            "8 KiB of gzip that unpack to 8 MiB",
            post("/graphql", SEVERAL_MEBIBYTES, "Content-Encoding: gzip"),
            Expected(413, "PAYLOAD_TOO_LARGE"),
        ),
        Probe(
            "rate",
            "A client does not know its limit and floods.",
            "any operation",
            query("{ viewer { scope } }"),
            Expected(200, headers=(("RateLimit-Policy", '"points";q=100000;w=10'),)),
        ),
        Held(
            "A key floods the gateway with requests.",
            "operations beyond the points of a key",
            "429 `RATE_LIMITED`, `Retry-After`",
            "tests/gateway/limits/test_cost.py::test_a_key_that_spent_its_points_is_told_when_to_come_back",
        ),
        Held(
            "A key spends its rate at each of many processes.",
            "four processes that share the points in Redis",
            "429 `RATE_LIMITED` beyond the rate of one",
            "tests/gateway/limits/test_shared_rates.py::test_four_processes_spend_the_rate_of_one",
        ),
        Held(
            "A flood makes every request wait until it times out.",
            "more operations than a key's queue has places",
            "refused at once, as 503 `UNAVAILABLE`",
            "tests/gateway/limits/test_slots.py::test_a_full_queue_refuses_at_once",
        ),
        Held(
            "A key fills the database with tokens.",
            "export links and cookies of streams beyond the points of a key",
            "429 `RATE_LIMITED`",
            "tests/gateway/limits/test_cost.py::test_a_token_costs_as_much_as_a_mutation",
        ),
        Held(
            "A client without a key keeps the database's writer busy.",
            "`DELETE /graphql/session` with a cookie that was made up",
            "204, nothing is written",
            "tests/gateway/streams/test_session.py::test_ending_no_session_writes_nothing",
        ),
        Held(
            "One key's queue delays other keys.",
            "operations of several keys that wait for a slot",
            "keys take turns",
            "tests/gateway/limits/test_slots.py::test_keys_take_turns",
        ),
        Held(
            "Buckets of many keys fill the memory.",
            "more keys than a process keeps buckets for",
            "a bounded number of buckets",
            "tests/gateway/limits/test_rates.py::test_buckets_are_bounded",
        ),
        Held(
            "A new field has no cost.",
            "every field that reads",
            "a weight in `schema/costs.py`",
            "tests/gateway/limits/test_cost.py::test_every_field_that_reads_has_a_weight",
        ),
        Held(
            "A locked account delays other accounts.",
            "mutations while accounts are locked",
            "other accounts are answered",
            "tests/gateway/mutations/test_locked_accounts.py::test_locked_accounts_delay_no_other_and_their_calls_wait",
        ),
    ],
)
