from __future__ import annotations

from typing import Final

from tests.gateway.threats.probes import (
    EVENTS,
    FORBIDDEN,
    HIDDEN,
    NOT_FOUND,
    Expected,
    Group,
    Held,
    Probe,
    get,
    mutation,
    post,
    query,
    rows,
)

TENANCY: Final = Group(
    "Tenancy",
    [
        Probe(
            "account of another",
            "A key reads another customer's account.",
            "`account(id: …)` of another account",
            query("query ($id: ID) { account(id: $id) { balance } }", id="<theirs>"),
            HIDDEN,
        ),
        Probe(
            "transaction of another",
            "A key reads another customer's row by its id.",
            "`transaction(id: …)` of another account",
            query("query ($id: ID!) { transaction(id: $id) { amount } }", id="<their row>"),
            HIDDEN,
        ),
        Probe(
            "node of another",
            "`node` reads what the other fields hide.",
            "`node(id: …)` of another account",
            query("query ($id: ID!) { node(id: $id) { id } }", id="<their row>"),
            HIDDEN,
        ),
        Probe(
            "cursor of another",
            "A cursor of another customer leads into that ledger.",
            "`after:` with a cursor of another account",
            query(
                "query ($after: String) { account { transactions(after: $after) { nodes { id } } } }",
                after="<their cursor>",
            ),
            Expected(200, "BAD_CURSOR"),
        ),
        Probe(
            "REST account of another",
            "REST reads another customer's rows.",
            "`?account=` of another account",
            rows("account=<theirs>"),
            NOT_FOUND,
        ),
        Probe(
            "REST before of another",
            "A row of another customer is a position in REST.",
            "`?before=` with a row of another account",
            rows("before=<their row>"),
            NOT_FOUND,
        ),
        Probe(
            "export of another",
            "An export has another customer's rows.",
            "`transactions.csv?account=` of another account",
            get("/billing/transactions.csv?account=<theirs>"),
            NOT_FOUND,
        ),
        Probe(
            "export link of another",
            "A link exports another customer's rows without a key.",
            "`POST /billing/export-links` for another account",
            post("/billing/export-links", {"address": "/billing/usage.csv?account=<theirs>"}),
            NOT_FOUND,
        ),
        Probe(
            "stream of another",
            "A subscription follows another customer's balance.",
            "`balanceChanged(accountId: …)` of another account",
            query("subscription ($id: ID) { balanceChanged(accountId: $id) { __typename } }", EVENTS, id="<theirs>"),
            HIDDEN,
        ),
        Probe(
            "key for another",
            "A MANAGE key creates a key for another customer.",
            "`createApiKey(accountId: …)` of another account",
            mutation("createApiKey", "<manage>", scope="READ", owner="probe", accountId="<theirs>"),
            HIDDEN,
        ),
        Probe(
            "revocation of another",
            "A MANAGE key revokes another customer's key.",
            "`revokeApiKey(prefix: …)` of another account",
            mutation("revokeApiKey", "<manage>", prefix="<their prefix>"),
            HIDDEN,
        ),
        Probe(
            "hold of another",
            "A SERVICE key for one account charges another.",
            "`grantBonus(accountId: …)` of an account that the key does not cover",
            mutation("grantBonus", "<service>", accountId="<theirs>", amount="5", promotion="probe"),
            HIDDEN,
        ),
        Probe(
            "customer list",
            "A customer lists all customers.",
            "`accounts` with a MANAGE key",
            query("{ accounts { nodes { id } } }", key="<manage>"),
            FORBIDDEN,
        ),
        Held(
            "The answer tells whether another account exists.",
            "an id of another account, and one that does not exist",
            "`NOT_FOUND`, the same message",
            "tests/gateway/test_threats.py::test_foreign_and_unknown_accounts_get_the_same_answer",
        ),
        Held(
            "What one customer does shows in another's figures.",
            "every field, filter and export of two accounts that change in turn",
            "answers about the one stay the same",
            "tests/gateway/test_tenants.py::test_the_life_of_one_account_changes_nothing_that_is_said_of_another",
        ),
        Held(
            "A new SQL statement forgets the account.",
            "every statement of these answers, parsed",
            "each is bound to an account",
            "tests/gateway/test_tenants.py::test_every_read_of_account_data_names_its_account",
        ),
    ],
)
