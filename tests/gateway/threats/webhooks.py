from __future__ import annotations

from typing import Final

from tests.gateway.threats.probes import NO_KEY, Expected, Group, Held, Probe, get, post

_EVENT: Final = b'{"object": "event"}'

WEBHOOKS: Final = Group(
    "Webhooks",
    [
        Probe(
            "unsigned event",
            "Anyone credits an account by an event.",
            "an event without `Stripe-Signature`",
            post("/webhooks/stripe", _EVENT, key=None),
            NO_KEY,
        ),
        Probe(
            "event with a key",
            "An API key stands for Stripe's signature.",
            "an event with a valid key and no signature",
            post("/webhooks/stripe", _EVENT),
            NO_KEY,
        ),
        Probe(
            "empty signature scheme",
            "A signature of an old scheme is accepted.",
            "`Stripe-Signature: t=1,v0=…`",
            post("/webhooks/stripe", _EVENT, "Stripe-Signature: t=1,v0=" + "0" * 64, key=None),
            NO_KEY,
        ),
        Probe(
            "webhook by GET",
            "A link triggers the webhook.",
            "`GET /webhooks/stripe`",
            get("/webhooks/stripe", key=None),
            Expected(405, "METHOD_NOT_ALLOWED", (("Allow", "POST"),)),
        ),
        Held(
            "A signature of another body, secret or time is accepted.",
            "signatures with one part changed",
            "401 `UNAUTHENTICATED`, nothing is stored",
            "tests/gateway/test_webhooks.py::test_unsigned_events_are_refused",
        ),
        Held(
            "An event is replayed later.",
            "a valid signature of 400 seconds ago",
            "401 `UNAUTHENTICATED`",
            "tests/gateway/test_webhooks.py::test_an_old_signature_is_refused_however_right_it_is",
        ),
        Held(
            "An event is credited twice.",
            "the same events 30 times at once",
            "200, one row for each payment",
            "tests/gateway/test_webhooks.py::test_the_same_events_at_once",
        ),
        Held(
            "Bodies without a signature fill the memory.",
            "10 MiB, with and without a length",
            "413 `PAYLOAD_TOO_LARGE`, not read to its end",
            "tests/gateway/test_webhooks.py::test_a_body_that_is_too_large_is_refused_unread",
        ),
        Held(
            "Events are accepted before a secret is set.",
            "an event while `BILLING_STRIPE_WEBHOOK_SECRETS` is not set",
            "503 `UNAVAILABLE`",
            "tests/gateway/test_webhooks.py::test_without_a_secret_stripe_is_told_to_send_again",
        ),
    ],
)
