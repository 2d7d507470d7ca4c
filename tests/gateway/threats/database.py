from __future__ import annotations

from typing import Final

from tests.gateway.threats.probes import Group, Held

DATABASE: Final = Group(
    "Database and files",
    [
        Held(
            "A row of the ledger is changed or deleted.",
            "`UPDATE` and `DELETE` by the gateway's own role",
            "refused by the database",
            "tests/gateway/test_threats.py::test_the_ledger_is_append_only",
        ),
        Held(
            "A customer cannot prove that a row was changed.",
            "the hash chain of an export, checked by the program in docs/rest.md",
            "a changed row breaks the chain",
            "tests/gateway/test_rest.py::test_the_guides_example_checks_the_hash_chain",
        ),
        Held(
            "A row is changed behind the gateway's back.",
            "`billing-gateway verify` on a ledger with faults",
            "each fault is printed, exit code 1",
            "tests/gateway/test_verify.py::test_faults_are_printed_and_the_exit_code_says_so",
        ),
        Held(
            "A killed gateway loses a row that it acknowledged.",
            "gateways killed while they post",
            "every acknowledged row is there",
            "tests/gateway/mutations/test_kill.py::test_a_killed_gateway_loses_nothing_that_it_answered",
        ),
        Held(
            "A call sent to two gateways is carried out twice.",
            "the same idempotency key at once",
            "one row, the same answer",
            "tests/gateway/mutations/test_transactions.py"
            "::test_the_same_call_from_two_servers_at_once_is_carried_out_once",
        ),
        Held(
            "A restored backup continues streams with other rows.",
            "cursors of rows that are gone",
            "`BAD_CURSOR`",
            "tests/gateway/streams/test_restored_ledger.py::test_no_subscription_goes_on_from_a_cursor_of_before",
        ),
        Held(
            "A wrong clock moves rows into another month.",
            "a clock more than a minute from PostgreSQL's",
            "503 `UNAVAILABLE`, nothing is posted",
            "tests/gateway/test_clocks.py::test_a_gateway_with_a_wrong_clock_is_not_ready_and_refuses_to_post",
        ),
        Held(
            "An old program writes to newer tables.",
            "tables that name a newer program",
            "503 `UNAVAILABLE` at `/readyz`",
            "tests/gateway/test_readiness.py::test_old_processes_serve_on_until_tables_come_that_they_cannot_work_on",
        ),
    ],
)
