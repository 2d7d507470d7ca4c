from __future__ import annotations

from typing import Final

from tests.gateway.threats.probes import Expected, Group, Held, Probe, Sent, mutation


def _top_up(success_url: str = "https://a.example", amount: str = "20.00") -> Sent:
    return mutation("createTopUp", "<manage>", amount=amount, successUrl=success_url, cancelUrl="https://a.example")


STRIPE: Final = Group(
    "Stripe",
    [
        Probe(
            "script as a return address",
            "The return address of a payment runs a script.",
            '`createTopUp(successUrl: "javascript:…")`',
            _top_up("javascript:alert(1)"),
            Expected(200, "BAD_USER_INPUT"),
        ),
        Probe(
            "return address without TLS",
            "The return address is changed on its way.",
            '`createTopUp(successUrl: "http://a.example")`',
            _top_up("http://a.example"),
            Expected(200, "BAD_USER_INPUT"),
        ),
        Probe(
            "negative top-up",
            "A negative top-up takes credit from the ledger or pays it out.",
            '`createTopUp(amount: "-20.00")`',
            _top_up(amount="-20.00"),
            Expected(200, "BAD_USER_INPUT"),
        ),
        Held(
            "A client that sends a call again pays twice.",
            "`createTopUp` with the same idempotency key",
            "the same session",
            "tests/gateway/mutations/test_top_ups.py::test_the_same_call_has_the_same_session",
        ),
        Held(
            "A worker that is killed charges a card twice.",
            "workers killed while they call Stripe",
            "one charge",
            "tests/gateway/test_worker.py::test_killed_while_stripe_is_called_the_card_is_charged_once",
        ),
        Held(
            "Stripe's answer hangs and holds up the gateway.",
            "a Stripe that does not answer",
            "the call ends as `UNAVAILABLE`, the process goes on meanwhile",
            "tests/gateway/test_stripe_api.py::test_the_loop_goes_on_while_stripe_is_waited_for",
        ),
        Held(
            "A receipt's address leads to another host.",
            "events whose `receipt_url` is not an https address of stripe.com",
            "the address is not kept",
            "tests/ledger/stripe/test_receipts.py::test_everything_else",
        ),
        Held(
            "The billing portal leads back to a page that is not allowed.",
            '`createBillingPortalSession(returnUrl: "http://example.com/")`',
            "`BAD_USER_INPUT`",
            "tests/gateway/mutations/test_top_ups.py::test_the_billing_portal",
        ),
        Held(
            "Customers see links to Stripe's dashboard.",
            "`stripeUrl` with a READ key",
            "null",
            "tests/gateway/test_graphql_http.py::test_stripe_s_dashboard_is_for_operators",
        ),
        Held(
            "Customers see Stripe's events of others.",
            "`stripeEvents` with every other scope",
            "`FORBIDDEN`",
            "tests/gateway/mutations/test_stripe_events.py::test_only_operators_see_events",
        ),
    ],
)
