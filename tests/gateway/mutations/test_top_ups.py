"""A top-up from the mutation to the row: the stand-in makes the session, Stripe's event credits it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from access.keys import KeyScope, NewKey
from tests.gateway.mutations.office import Office, contents, number_of, opened
from tests.stripe_objects import SECRET, body, charge, event, payment, session, signature
from tests.stripe_stand_in import Fault, StandIn, settings, standing_in, stripe_hangs

BAD = "BAD_USER_INPUT"
URLS = {"successUrl": "https://example.com/done?s={CHECKOUT_SESSION_ID}", "cancelUrl": "http://localhost:8000/back"}


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    async with standing_in() as one:
        yield one


@pytest.fixture
def stripe_timeout_seconds() -> float:
    """Longer than a busy machine needs. `stripe_hangs` shortens it."""
    return 20


@pytest.fixture
async def office(database_url: str, stand_in: StandIn, stripe_timeout_seconds: float) -> AsyncIterator[Office]:
    given = settings(stand_in, stripe_timeout_seconds=stripe_timeout_seconds, stripe_webhook_secrets=SECRET)
    async with opened(database_url, **given) as office:
        yield office


async def _tell(office: Office, kind: str, of: dict[str, Any]) -> int:
    text = body(event(kind, of))
    headers = {"Stripe-Signature": signature(text)}
    async with office.session.post(f"{office.url}/webhooks/stripe", data=text, headers=headers) as answer:
        return answer.status


async def test_a_payment_leads_to_its_row(office: Office, stand_in: StandIn) -> None:
    account = await office.account()
    key = await office.manager(account)
    made = await office.call("createTopUp", key, amount="25.00", **URLS)
    assert made == {
        "transactions": [],
        "balance": "0.00",
        "replayed": False,
        "checkoutUrl": f"https://checkout.stripe.example/c/pay/{made['sessionId']}",
        "sessionId": made["sessionId"],
        "expiresAt": "2026-11-07T21:20:00.000000Z",
        "state": "OPEN",
    }
    (asked,) = stand_in.asked_for("/v1/checkout/sessions")
    customer = asked.form["customer"]
    paid = session(made["sessionId"], customer=customer, subtotal=2_500, tax=200, payment_intent="pi_1")
    # Its events may come while the customer's name is hardly known: the customer was linked before it could pay.
    assert await _tell(office, "payment_intent.succeeded", payment("pi_1", customer=customer, amount=2_700)) == 200
    assert await _tell(office, "checkout.session.completed", paid) == 200
    (row,) = await office.transactions(account)
    assert (row["type"], row["amount"], row["source"], row["refType"], row["refId"]) == (
        "TOPUP",
        "25.00",
        "STRIPE_WEBHOOK",
        "STRIPE_CHECKOUT_SESSION",
        made["sessionId"],
    )
    # The second top-up is of the same customer.
    await office.call("createTopUp", key, amount="5.00", accountId=account, **URLS)
    assert [one.form["customer"] for one in stand_in.asked_for("/v1/checkout/sessions")] == [customer] * 2
    assert len(stand_in.customers) == 1


async def test_the_same_call_has_the_same_session(office: Office, stand_in: StandIn) -> None:
    account = await office.account()
    key = await office.manager(account)
    given = {"amount": "25.00", **URLS, "idempotencyKey": "my key"}
    first = await office.call("createTopUp", key, **given)
    stand_in.forget_keys()
    assert await office.call("createTopUp", key, **given) == first | {"replayed": True}
    assert [one.key for one in stand_in.asked_for("/v1/checkout/sessions")] == ["createTopUp/acct_1/my key"]
    answer = await office.answer("createTopUp", key, **(given | {"amount": "26.00"}))
    assert answer["errors"][0]["extensions"] == {"code": "IDEMPOTENCY_CONFLICT"}
    # Its state is that of now, all else that of the first time.
    office.now += timedelta(days=7)
    await office.call("correctBalance", accountId=account, amount="3", description="Given back")
    expired = await office.call("createTopUp", key, **given)
    assert expired == first | {"replayed": True, "state": "EXPIRED"}
    (asked,) = stand_in.asked_for("/v1/checkout/sessions")
    paid = session(first["sessionId"], customer=asked.form["customer"], payment_intent="pi_1")
    assert await _tell(office, "checkout.session.completed", paid) == 200
    assert (await office.call("createTopUp", key, **given))["state"] == "COMPLETE"
    acts = (await office.query("{ account { activity { nodes { act description } } } }", key))["account"]["activity"]
    (noted,) = [one["description"] for one in acts["nodes"] if one["act"] == "createTopUp"]
    assert noted == f"25.00 by {first['sessionId']}"
    # Another account's key is another key, and Stripe takes neither letters beyond ASCII nor 256 characters.
    other = await office.manager(await office.account())
    for strange in ("my key", "schlüssel", "k" * 255):
        made = await office.call("createTopUp", other, **(given | {"idempotencyKey": strange}))
        assert made["sessionId"] != first["sessionId"]


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ({"amount": "4.99"}, BAD, "amount must be 5.00 to 10000.00, not 4.99"),
        ({"amount": "10000.01"}, BAD, "amount must be 5.00 to 10000.00"),
        ({"amount": "25.001"}, BAD, "amount must be whole cents"),
        ({"amount": "-25.00"}, BAD, "amount must be 5.00 to 10000.00"),
        ({"amount": 25.5}, BAD, "not float"),
        ({"successUrl": "http://example.com/"}, BAD, "successUrl must be an https address"),
        ({"cancelUrl": "javascript:alert(1)"}, BAD, "cancelUrl must be an https address"),
        ({"cancelUrl": "https://[::1"}, BAD, "cancelUrl must be an https address"),
        ({"cancelUrl": r"https://attacker.example\@example.com/"}, BAD, "cancelUrl must be an https address"),
        ({"cancelUrl": "https://example.com@attacker.example/"}, BAD, "cancelUrl must be an https address"),
        ({"successUrl": "https://example.com/" + "x" * 2_000}, BAD, "successUrl must have at most 2000 characters"),
        ({"idempotencyKey": ""}, BAD, "idempotencyKey must not be blank"),
        ({"accountId": "acct_2"}, "NOT_FOUND", "there is no such account"),
    ],
)
async def test_bad_input_asks_stripe_for_nothing(
    office: Office, stand_in: StandIn, given: dict[str, Any], code: str, said: str
) -> None:
    key = await office.manager(await office.account())
    await office.account()
    refused = await office.refusal("createTopUp", key, **({"amount": "25.00"} | URLS | given))
    assert (refused[0], said in refused[1]) == (code, True), refused
    assert stand_in.asked == []


async def test_checkout_returns_only_to_allowed_origins(database_url: str, stand_in: StandIn) -> None:
    origins = "https://pay.example, http://localhost:8000"
    given = {"amount": "25.00", "successUrl": "https://pay.example/a", "cancelUrl": "http://localhost:8000/b"}
    async with opened(database_url, **settings(stand_in, allowed_return_origins=origins)) as office:
        key = await office.manager(await office.account())
        await office.call("createTopUp", key, **given)
        await office.call("createTopUp", key, **given | {"cancelUrl": "https://PAY.example:443"})
        for other in (
            *("https://attacker.example/", "https://pay.example.attacker.example/", "https://pay.example:444/"),
            *("http://pay.example/", "http://localhost/", r"https://attacker.example\@pay.example/"),
        ):
            for name in ("successUrl", "cancelUrl"):
                code, message = await office.refusal("createTopUp", key, **given | {name: other})
                assert (code, message.startswith(f"{name} must be an")) == (BAD, True), other
    assert len(stand_in.asked_for("/v1/checkout/sessions")) == 2


@pytest.mark.parametrize("scope", [KeyScope.READ, KeyScope.SERVICE, KeyScope.OPERATOR])
async def test_a_top_up_needs_a_manage_key(office: Office, scope: KeyScope) -> None:
    account = await office.account()
    number = number_of(account) if scope == KeyScope.READ else None
    key = await office.key(NewKey(scope, "tests", number))
    given = {"amount": "25.00", "accountId": account, **URLS}
    assert await office.refusal("createTopUp", key, **given) == ("FORBIDDEN", "createTopUp requires a manage key")


@pytest.mark.parametrize(
    ("fault", "extensions"),
    [
        ("429", {"code": "RATE_LIMITED", "retryAfter": 7.0}),
        ("503", {"code": "UNAVAILABLE"}),
        ("hangs", {"code": "UNAVAILABLE"}),
        ("hangs_afterwards", {"code": "UNAVAILABLE"}),
        ("cut_short", {"code": "UNAVAILABLE"}),
    ],
)
@stripe_hangs
async def test_errors_of_stripe_have_a_code_and_the_call_can_be_sent_again(
    office: Office, stand_in: StandIn, fault: Fault, extensions: dict[str, Any]
) -> None:
    key = await office.manager(await office.account())
    given = {"amount": "25.00", **URLS, "idempotencyKey": "again"}
    stand_in.faults = ["none", fault]
    before = await contents(office.services.database)
    answer = await office.answer("createTopUp", key, **given)
    assert answer["errors"][0]["extensions"] == extensions
    after = await contents(office.services.database)
    assert {name for name in after if after[name] != before[name]} == {"stripe_customers"}
    made = await office.call("createTopUp", key, **given)
    assert made["checkoutUrl"].startswith("https://checkout.stripe.example/")
    assert len(stand_in.customers) == 1


async def test_without_stripe_s_key_it_is_unavailable(database_url: str) -> None:
    async with opened(database_url) as office:
        key = await office.manager(await office.account())
        answer = await office.answer("createTopUp", key, amount="25.00", **URLS)
        assert [(one["message"], one["extensions"]) for one in answer["errors"]] == [
            (
                "card payments are not set up on this gateway",
                {"code": "UNAVAILABLE", "reason": "PAYMENTS_NOT_SET_UP"},
            )
        ]


RECEIPTS = "{ account { transactions { nodes { type receiptUrl } } } }"


async def test_a_payment_has_its_receipt(office: Office, stand_in: StandIn) -> None:
    """Whichever of the events comes first; an address that is not Stripe's is not kept."""
    account = await office.account("1.00")
    key = await office.manager(account)
    made = [await office.call("createTopUp", key, amount="25.00", **URLS) for _ in range(3)]
    customer = stand_in.asked_for("/v1/checkout/sessions")[0].form["customer"]
    url = "https://pay.stripe.com/receipts/payment/ch_1?s=ap"
    paid = charge("ch_1", customer=customer, amount=2_500, refunded=0, payment_intent="pi_1") | {"receipt_url": url}
    assert await _tell(office, "charge.succeeded", paid) == 200
    for number, one in enumerate(made, 1):
        of = session(one["sessionId"], customer=customer, subtotal=2_500, payment_intent=f"pi_{number}")
        assert await _tell(office, "checkout.session.completed", of) == 200
    later = {"payment_intent": "pi_2", "receipt_url": "https://pay.stripe.com/2"}
    elsewhere = {"payment_intent": "pi_3", "receipt_url": "https://stripe.com.example/3"}
    for changed in (later, elsewhere):
        assert await _tell(office, "charge.succeeded", paid | changed) == 200
    rows = (await office.query(RECEIPTS, key))["account"]["transactions"]["nodes"]
    assert [row["receiptUrl"] for row in rows] == [None, "https://pay.stripe.com/2", url, None]
    named = RECEIPTS.replace("account", f'account(id: "{account}")', 1)
    rows = (await office.query(named, office.keys["service"]))["account"]["transactions"]["nodes"]
    assert [row["receiptUrl"] for row in rows] == [None] * 4


async def test_the_billing_portal(office: Office, stand_in: StandIn) -> None:
    account = await office.account("1.00")
    key = await office.manager(account)
    given = {"returnUrl": "https://example.com/billing", "idempotencyKey": "open"}
    made = await office.call("createBillingPortalSession", key, **given)
    (asked,) = stand_in.asked_for("/v1/billing_portal/sessions")
    (customer,) = stand_in.customers
    assert asked.form == {"customer": customer, "return_url": given["returnUrl"]}
    assert asked.key == f"createBillingPortalSession/{account}/open"
    first = {"transactions": [], "balance": "1.00", "replayed": False, "url": made["url"]}
    assert made == first
    assert made["url"].startswith("https://billing.stripe.example/p/session/")
    # Stripe gives the same session again; another address under the key is refused.
    assert await office.call("createBillingPortalSession", key, **given) == first | {"replayed": True}
    other = given | {"returnUrl": "https://example.com/other"}
    assert (await office.refusal("createBillingPortalSession", key, **other))[0] == "IDEMPOTENCY_CONFLICT"
    unsafe = given | {"returnUrl": "http://example.com/"}
    message = "returnUrl must be an https address, such as https://example.com/billing"
    assert await office.refusal("createBillingPortalSession", key, **unsafe) == (BAD, message)
    stand_in.faults.append("503")
    failed = await office.refusal("createBillingPortalSession", key, returnUrl="https://example.com/")
    assert failed[0] == "UNAVAILABLE"
