"""The stripe package's own client against the stand-in: what each answer, and each failure, becomes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.commands.options import settings_of
from gateway.stripe_http import build_stripe_api
from ledger.errors import IdempotencyConflict
from ledger.stripe.api import Cards, CheckoutSession, NewPayment, NewSession, Payment, StripeApi
from ledger.stripe.failures import CallInProgress, PaymentFailed, StripeRefused, StripeUnavailable, TooManyRequests
from ledger.stripe.notices import RECHARGE, FailedRefund, Refund
from tests.stripe_objects import CREATED, charge, refund
from tests.stripe_stand_in import Fault, StandIn, settings, standing_in

PAYMENT = NewPayment("recharge_1", 7, "cus_1", "pm_1", 25_000_000_000)
SESSION = NewSession(7, "cus_1", 12_340_000_000, "https://example.com/done", "https://example.com/back")
START = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    async with standing_in() as one:
        yield one


def build(stand_in: StandIn, **more: object) -> StripeApi:
    api = build_stripe_api(settings_of(settings(stand_in, **more)))
    assert api is not None
    return api


@pytest.fixture
async def api(stand_in: StandIn) -> AsyncIterator[StripeApi]:
    one = build(stand_in)
    yield one
    await one.close()


def test_without_a_key_there_is_no_api() -> None:
    assert build_stripe_api(settings_of({})) is None


async def test_a_session_is_asked_for_in_cents_and_dollars(stand_in: StandIn, api: StripeApi) -> None:
    made = await api.create_session(SESSION, "top-up-1")
    expires_at = datetime.fromtimestamp(CREATED + 86_400, UTC)
    url = f"https://checkout.stripe.example/c/pay/{made.id}"
    assert made == CheckoutSession(made.id, url, expires_at)
    assert await api.create_session(SESSION, "top-up-1") == made
    (first, _) = stand_in.asked_for("/v1/checkout/sessions")
    wanted = {
        "mode": "payment",
        "customer": "cus_1",
        "line_items[0][quantity]": "1",
        "line_items[0][price_data][unit_amount]": "1234",
        "line_items[0][price_data][currency]": "usd",
        "payment_intent_data[setup_future_usage]": "off_session",
        "metadata[billing_gateway_account]": "acct_7",
        "adaptive_pricing[enabled]": "false",
        "success_url": "https://example.com/done",
        "cancel_url": "https://example.com/back",
    }
    assert {name: first.form[name] for name in wanted} == wanted
    assert first.key == "top-up-1"


async def test_a_customer_and_the_cards_that_were_saved(stand_in: StandIn, api: StripeApi) -> None:
    customer = await api.create_customer(7, "Ada Ltd", "customer-acct_7")
    assert await api.create_customer(7, "Ada Ltd", "customer-acct_7") == customer
    assert stand_in.customers[customer]["metadata"] == {"billing_gateway_account": "acct_7"}
    assert await api.cards_of(customer) == Cards(None)
    stand_in.cards[customer] = ["pm_new", "pm_old"]
    assert await api.cards_of(customer) == Cards("pm_new")
    stand_in.customers[customer]["invoice_settings"] = {"default_payment_method": "pm_default"}
    assert await api.cards_of(customer) == Cards("pm_default")
    stand_in.customers[customer] = {"id": customer, "object": "customer", "deleted": True}
    assert await api.cards_of(customer) == Cards(None, is_deleted=True)


async def test_a_payment_carries_the_attempt_as_its_key(stand_in: StandIn, api: StripeApi) -> None:
    made = await api.pay(PAYMENT)
    assert made == Payment(made.id, "paid", None)
    assert await api.pay(PAYMENT) == made
    assert stand_in.charged() == {"recharge_1": 2_500}
    assert stand_in.payments[made.id]["metadata"][RECHARGE] == "recharge_1"
    assert await api.payment(made.id) == made
    assert await api.payment_of_attempt("cus_1", "recharge_1", START) == made
    assert await api.payment_of_attempt("cus_1", "recharge_2", START) is None


async def test_a_payment_is_found_among_many(stand_in: StandIn, api: StripeApi) -> None:
    made = await api.pay(PAYMENT)
    for number in range(250):
        other = {"id": f"pi_other_{number}", "status": "succeeded", "idempotency_key": "x", "amount": 1}
        stand_in.payments[f"pi_other_{number}"] = stand_in.payments[made.id] | other | {"metadata": {}}
    assert await api.payment_of_attempt("cus_1", "recharge_1", START) == made


async def test_a_payment_that_a_bank_takes_days_for_is_running(stand_in: StandIn, api: StripeApi) -> None:
    stand_in.payment_status = "processing"
    assert (await api.pay(PAYMENT)).status == "running"


async def test_a_decline_says_why(stand_in: StandIn, api: StripeApi) -> None:
    stand_in.faults = ["declines"]
    with pytest.raises(PaymentFailed) as declined:
        await api.pay(PAYMENT)
    assert str(declined.value) == "Your card has insufficient funds. (insufficient_funds)"
    assert declined.value.payment_intent in stand_in.payments
    # Stripe gives the same answer to the same key.
    with pytest.raises(PaymentFailed):
        await api.pay(PAYMENT)
    assert len(stand_in.payments) == 1
    assert (await api.payment(declined.value.payment_intent or "")).status == "failed"


async def test_a_limit_says_when_to_come_again(stand_in: StandIn, api: StripeApi) -> None:
    stand_in.faults = ["429"]
    with pytest.raises(TooManyRequests) as refused:
        await api.create_session(SESSION, "top-up-1")
    assert refused.value.retry_after_seconds == 7
    assert (await api.create_session(SESSION, "top-up-1")).url


@pytest.mark.parametrize("fault", ["hangs", "hangs_afterwards", "breaks_off", "cut_short", "500", "503", "html"])
async def test_an_answer_that_does_not_come_is_unavailable(stand_in: StandIn, fault: Fault) -> None:
    api = build(stand_in, stripe_timeout_seconds=1)
    stand_in.faults = [fault]
    with pytest.raises(StripeUnavailable) as unavailable:
        await api.pay(PAYMENT)
    assert str(unavailable.value) == "payments are unavailable at the moment: try again"
    await api.close()


@pytest.mark.parametrize("fault", ["hangs", "hangs_afterwards", "breaks_off", "cut_short", "503"])
async def test_an_unanswered_call_is_sent_again_with_its_key(stand_in: StandIn, fault: Fault) -> None:
    api = build(stand_in, stripe_timeout_seconds=1, stripe_retries=1)
    stand_in.faults = [fault]
    assert (await api.pay(PAYMENT)).status == "paid"
    assert stand_in.charged() == {"recharge_1": 2_500}
    assert [one.key for one in stand_in.asked] == ["recharge_1"] * 2
    await api.close()


async def test_the_loop_goes_on_while_stripe_is_waited_for(stand_in: StandIn) -> None:
    api = build(stand_in, stripe_timeout_seconds=0.5)
    stand_in.faults = ["hangs"]
    waiting = asyncio.create_task(api.pay(PAYMENT))
    turns = 0
    while not waiting.done():
        await asyncio.sleep(0.01)
        turns += 1
    with pytest.raises(StripeUnavailable):
        await waiting
    assert turns > 5
    await api.close()


async def test_other_arguments_under_one_key_are_a_conflict(api: StripeApi) -> None:
    await api.create_session(SESSION, "top-up-1")
    with pytest.raises(IdempotencyConflict):
        await api.create_session(replace(SESSION, amount_nanos=5_000_000_000), "top-up-1")


async def test_a_key_whose_call_still_runs_is_in_progress(stand_in: StandIn, api: StripeApi) -> None:
    stand_in.seconds = 0.2
    answers = await asyncio.gather(*(api.pay(PAYMENT) for _ in range(3)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in answers) == ["CallInProgress", "CallInProgress", "Payment"]
    assert issubclass(CallInProgress, StripeUnavailable)
    assert stand_in.charged() == {"recharge_1": 2_500}


async def test_ids_unknown_to_stripe_are_refused(api: StripeApi) -> None:
    with pytest.raises(StripeRefused, match="No such payment_intent: 'pi_77'"):
        await api.payment("pi_77")


async def test_a_key_that_stripe_refuses_is_unavailable_and_not_repeated(stand_in: StandIn) -> None:
    api = build(stand_in, stripe_secret_key="sk_test_of_nobody")
    with pytest.raises(StripeUnavailable) as unavailable:
        await api.pay(PAYMENT)
    assert "AuthenticationError" in unavailable.value.reason
    assert "sk_test" not in unavailable.value.reason
    await api.close()


async def test_the_refunds_of_a_charge_are_read(stand_in: StandIn, api: StripeApi) -> None:
    stand_in.refunds = [
        refund("re_1", amount=500, payment_intent="pi_1"),
        refund("re_2", amount=100, payment_intent="pi_1", status="failed"),
        refund("re_3", amount=100, charge="ch_2"),
    ]
    stand_in.charges["ch_1"] = charge("ch_1", customer="cus_1", amount=2_000, refunded=500)
    assert await api.refunds_of_charge("ch_1") == [
        Refund("re_1", "ch_1", "pi_1", None, 5_000_000_000),
        FailedRefund("re_2", "pi_1", 1_000_000_000, is_canceled=False),
    ]
    assert await api.customer_of_charge("ch_1") == "cus_1"
