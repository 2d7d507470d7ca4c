from __future__ import annotations

from typing import Final

from tests.gateway.threats.probes import (
    BAD_INPUT,
    FORBIDDEN,
    NO_KEY,
    NO_STORE,
    Expected,
    Group,
    Held,
    Probe,
    get,
    mutation,
    post,
    rows,
)

KEYS: Final = Group(
    "Keys and tokens",
    [
        Probe(
            "mutation by a read key",
            "A READ key changes something.",
            "`createTopUp` with a READ key",
            mutation(
                "createTopUp", "<read>", amount="5", successUrl="https://a.example", cancelUrl="https://a.example"
            ),
            FORBIDDEN,
        ),
        Probe(
            "own bonus",
            "A customer grants itself credit.",
            "`grantBonus` with a MANAGE key",
            mutation("grantBonus", "<manage>", accountId="<mine>", amount="5", promotion="probe"),
            FORBIDDEN,
        ),
        Probe(
            "own correction",
            "A customer corrects its own balance.",
            "`correctBalance` with a MANAGE key",
            mutation("correctBalance", "<manage>", accountId="<mine>", amount="5", description="probe"),
            FORBIDDEN,
        ),
        Probe(
            "operator key by a manage key",
            "A MANAGE key creates an OPERATOR key.",
            "`createApiKey(scope: OPERATOR)` with a MANAGE key",
            mutation("createApiKey", "<manage>", scope="OPERATOR", owner="probe"),
            FORBIDDEN,
        ),
        Probe(
            "operation of a service key",
            "A SERVICE key does more than its list of operations.",
            "`recordUsage` with a key for `grantBonus`",
            mutation("recordUsage", "<service>", accountId="<mine>", requests=[]),
            FORBIDDEN,
        ),
        Probe(
            "export token as a key",
            "The token of an export link is used as a key.",
            "`Authorization: Bearer` with the token",
            rows(key="<export token>"),
            NO_KEY,
        ),
        Probe(
            "export token for another export",
            "The token of one export opens another.",
            "`usage.csv?token=` with a token for transactions",
            get("/billing/usage.csv?token=<export token>", key=None),
            NO_KEY,
        ),
        Probe(
            "filter beside an export token",
            "A link is widened by other filters.",
            "`transactions.csv?token=…&types=topup`",
            get("/billing/transactions.csv?token=<export token>&types=topup", key=None),
            BAD_INPUT,
        ),
        Probe(
            "stream token as a key",
            "The cookie of streams is used as a key.",
            "`Authorization: Bearer` with the cookie's value",
            rows(key="<stream token>"),
            NO_KEY,
        ),
        Probe(
            "stream cookie for REST",
            "The cookie of streams reads the ledger.",
            "`GET /billing/transactions` with the cookie",
            rows("", "Cookie: billing_stream=<stream token>", key=None),
            NO_KEY,
        ),
        Probe(
            "guessed code",
            "An attacker guesses the code of a sign-in link.",
            "`POST /console/sign-in` with a random code",
            post("/console/sign-in", {"code": "A" * 32}, key=None),
            Expected(401, "UNAUTHENTICATED", (NO_STORE,)),
        ),
        Probe(
            "key as a code",
            "A key is exchanged for another key.",
            "`POST /console/sign-in` with a valid key as the code",
            post("/console/sign-in", {"code": "<read>"}, key=None),
            NO_KEY,
        ),
        Probe(
            "link by another service key",
            "A SERVICE key signs customers in though its list of operations does not say so.",
            "`createSignInLink` with a key for `grantBonus`",
            mutation("createSignInLink", "<service>", accountId="<mine>"),
            FORBIDDEN,
        ),
        Probe(
            "own link",
            "A customer makes links for others.",
            "`createSignInLink` with a MANAGE key",
            mutation("createSignInLink", "<manage>", accountId="<mine>", scope="READ"),
            FORBIDDEN,
        ),
        Probe(
            "link to another site",
            "A sign-in link sends its code to another site.",
            '`createSignInLink(returnPath: "//evil.example/")` with an OPERATOR key',
            mutation("createSignInLink", "<operator>", accountId="<mine>", returnPath="//evil.example/"),
            Expected(200, "BAD_USER_INPUT"),
        ),
        Probe(
            "operator's link",
            "A sign-in link gives more than the rights of one account.",
            "`createSignInLink(scope: OPERATOR)` with an OPERATOR key",
            mutation("createSignInLink", "<operator>", accountId="<mine>", scope="OPERATOR"),
            Expected(200, "BAD_USER_INPUT"),
        ),
        Held(
            "A program that follows a link before the customer uses it up, or reads its code.",
            "`GET` of the link's address",
            "the page without the code; the link still signs in",
            "tests/gateway/mutations/test_sign_in_links.py::test_a_link_opens_a_session_of_the_named_account_once",
        ),
        Held(
            "A session goes on after the key that signed the customer in was revoked.",
            "a session, and a key that it created, after `revokeApiKey` of the service key",
            "401 `UNAUTHENTICATED`",
            "tests/gateway/mutations/test_sign_in_links.py::test_a_link_opens_a_session_of_the_named_account_once",
        ),
        Held(
            "A sign-in link from a history is used again.",
            "the same code 8 times at once",
            "201 once, then 401 `UNAUTHENTICATED`",
            "tests/gateway/test_sign_in.py::test_only_one_of_many_at_once_signs_in",
        ),
        Held(
            "The key of a sign-in link outlives the key that made the link.",
            "a link of a key that ends in two hours",
            "a key that ends in two hours",
            "tests/gateway/test_sign_in.py::test_the_key_does_not_outlive_the_one_that_the_link_was_made_with",
        ),
        Held(
            "An export link is used later.",
            "the link after five minutes, and after its key was revoked",
            "401 `UNAUTHENTICATED`",
            "tests/gateway/test_export_links.py::test_a_link_ends_after_five_minutes",
        ),
        Held(
            "A copy of the database gives keys away.",
            "every column of every table",
            "SHA-256 digests, no key and no token",
            "tests/gateway/test_threats.py::test_the_database_stores_no_secret",
        ),
    ],
)
