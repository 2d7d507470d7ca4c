"""What each of Stripe's events does to the ledger."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from db import stripe_events
from ledger.commands import Entry, Ref
from ledger.errors import BadUserInput, Conflict, NotFound
from ledger.kinds import RefType, TransactionType
from ledger.stripe.events import EventState, Receipt, StripeEvents
from ledger.stripe.verdicts import NeedsAttention
from tests.ledger.desk import OPERATOR, usd
from tests.ledger.recompute import differences
from tests.ledger.stripe.till import CUSTOMER, Posted, Till, recharge
from tests.stripe_objects import Object, body, charge, dispute, event, invoice, payment, refund, session

COMPLETED = "checkout.session.completed"
APPLIED = Receipt(EventState.APPLIED, None)


def ignored(reason: str) -> Receipt:
    return Receipt(EventState.IGNORED, reason)


async def test_paid_session_is_credited_before_tax(till: Till) -> None:
    account_id = await till.customer()
    paid = session("cs_1", customer=CUSTOMER, subtotal=2_000, tax=160)
    assert await till.tell(COMPLETED, paid) == APPLIED
    description = "Top-up through Stripe Checkout session cs_1"
    assert await till.posted(account_id) == [
        Posted("topup", "20.00", "stripe_checkout_session cs_1", description, None)
    ]
    (row,) = await till.rows(account_id)
    assert (row.source, row.actor) == ("stripe_webhook", "stripe-webhook")
    assert await differences(till.database) == []


async def test_a_discount_is_not_credited(till: Till) -> None:
    account_id = await till.customer()
    await till.tell(COMPLETED, session("cs_1", customer=CUSTOMER, subtotal=2_000, discount=500, tax=285))
    await till.tell(COMPLETED, session("cs_2", customer=CUSTOMER, subtotal=2_000, discount=100, tax=361))
    contract = {"contract": "C-1"}
    paid = invoice("in_1", customer=CUSTOMER, subtotal=1_000_000, discount=100_000, tax=171_000, metadata=contract)
    await till.tell("invoice.paid", paid)
    assert await till.brief(account_id) == [("topup", "15.00"), ("topup", "19.00"), ("contract_grant", "9000.00")]


@pytest.mark.parametrize("status", ["unpaid", "no_payment_required"])
async def test_session_is_credited_once_when_it_is_paid(till: Till, status: str) -> None:
    account_id = await till.customer()
    unpaid = session("cs_1", customer=CUSTOMER, payment_status=status)
    told = await till.tell(COMPLETED, unpaid)
    assert told == ignored(f"the session's payment_status is {status}, not paid")
    paid = session("cs_1", customer=CUSTOMER)
    assert await till.tell("checkout.session.async_payment_succeeded", paid) == APPLIED
    assert await till.tell(COMPLETED, paid) == APPLIED
    assert await till.brief(account_id) == [("topup", "20.00")]


async def test_repeated_event_changes_nothing(till: Till) -> None:
    account_id = await till.customer()
    paid = session("cs_1", customer=CUSTOMER)
    for repeated in (False, True, True):
        receipt = await till.tell(COMPLETED, paid, "evt_1x")
        assert receipt == Receipt(EventState.APPLIED, None, is_repeated=repeated)
    told = [till.tell(COMPLETED, session("cs_2", customer=CUSTOMER), "evt_2x") for _ in range(8)]
    receipts = await asyncio.gather(*told)
    assert [one.is_repeated for one in receipts].count(False) == 1
    assert await till.brief(account_id) == [("topup", "20.00")] * 2


async def test_ignored_event_is_recorded_with_its_reason(till: Till) -> None:
    account_id = await till.customer()
    told = [
        (COMPLETED, session("cs_2", customer=CUSTOMER, mode="setup"), "the session's mode is setup"),
        (COMPLETED, session("cs_3", customer=CUSTOMER, subtotal=0), "nothing was paid"),
        ("payment_intent.succeeded", payment("pi_1", customer=CUSTOMER), "the payment is not an auto-recharge"),
        (
            "charge.dispute.created",
            {"id": "dp_1", "object": "dispute", "currency": "usd"},
            "the dispute is still open",
        ),
        ("invoice.paid", invoice("in_1", customer=CUSTOMER, subtotal=5_000), "the invoice does not name a contract"),
        ("refund.created", refund("re_1", amount=5, status="pending"), "the refund's status is pending"),
        ("refund.failed", refund("re_1", amount=5, status="failed"), "the refund failed before it was credited"),
        ("charge.dispute.closed", dispute("dp_1", status="won"), "the dispute was closed as won"),
        ("product.created", {"id": "prod_1", "object": "product"}, "events of this type have no effect"),
    ]
    for kind, of, _ in told:
        await till.tell(kind, of)
    assert [(kind, state) for kind, state, _ in await till.states()] == [(kind, "ignored") for kind, _, _ in told]
    for (_, _, expected), (_, _, reason) in zip(told, await till.states(), strict=True):
        assert reason is not None
        assert reason.startswith(expected)
    assert await till.rows(account_id) == []


async def test_event_of_the_other_mode_is_ignored(till: Till) -> None:
    account_id = await till.customer()

    live = StripeEvents(till.database, till.ledger, livemode=True)
    paid = event(COMPLETED, session("cs_1", customer=CUSTOMER))
    assert await live.receive(body(paid)) == ignored("the event is from Stripe's test mode")
    assert await till.rows(account_id) == []


async def test_event_of_an_unknown_customer_waits_until_it_is_linked(till: Till) -> None:
    account_id = await till.account()
    told = await till.tell(COMPLETED, session("cs_1", customer="cus_9"), "evt_9")
    assert told == Receipt(EventState.WAITING, "the customer cus_9 is not linked to an account: link the customer")
    row = await till.event_row("evt_9")
    assert (row.waits_for, row.attempts, row.retry_at) == ("cus_9", 1, till.now + timedelta(minutes=1))
    assert '"cs_1"' in (row.payload or "")
    # Sent again, it is tried again.
    again = await till.tell(COMPLETED, session("cs_1", customer="cus_9"), "evt_9")
    assert again.state == EventState.WAITING
    assert await till.events.link(account_id, "cus_9") == 1
    row = await till.event_row("evt_9")
    assert (row.state, row.payload, row.retry_at, row.account_id) == ("applied", None, None, account_id)
    assert await till.brief(account_id) == [("topup", "20.00")]


async def test_customer_belongs_to_one_account(till: Till) -> None:
    await till.customer()
    other = await till.account()
    with pytest.raises(Conflict, match="cus_1 is already linked to acct_1"):
        await till.events.link(other, CUSTOMER)
    with pytest.raises(NotFound, match="no account acct_77"):
        await till.events.link(77, "cus_2")


async def test_waiting_event_can_be_dismissed(till: Till) -> None:
    await till.tell(COMPLETED, session("cs_1", customer="cus_9"), "evt_9")
    await till.events.dismiss("evt_9", "it was a test")
    row = await till.event_row("evt_9")
    assert (row.state, row.reason, row.payload) == ("ignored", "dismissed: it was a test", None)
    with pytest.raises(Conflict, match="is already ignored"):
        await till.events.dismiss("evt_9", "again")
    with pytest.raises(NotFound):
        await till.events.dismiss("evt_10", "which?")


async def test_auto_recharge_is_credited_once_and_only_by_its_event(till: Till) -> None:
    account_id = await till.customer()
    await till.attempt(account_id, "recharge_1")
    paid = recharge("pi_1", "recharge_1")
    assert await till.tell("payment_intent.succeeded", paid) == APPLIED
    assert await till.tell("payment_intent.succeeded", paid) == APPLIED
    description = "Auto-recharge: the balance fell below 10.00; Stripe payment pi_1"
    assert await till.posted(account_id) == [
        Posted("auto_recharge", "25.00", "stripe_payment_intent pi_1", description, None)
    ]


async def test_auto_recharge_of_another_gateway_waits(till: Till) -> None:
    await till.customer()
    told = await till.tell("payment_intent.succeeded", recharge("pi_1", "recharge_77"))
    assert told == Receipt(EventState.WAITING, "unknown auto-recharge recharge_77: it may belong to another gateway")


async def test_auto_recharge_that_another_customer_paid_is_not_credited(till: Till) -> None:
    account_id, other = await till.customer(), await till.customer("cus_2")
    await till.attempt(account_id, "recharge_1")
    told = await till.tell("payment_intent.succeeded", recharge("pi_1", "recharge_1", customer="cus_2"))
    reason = (
        "the payment pi_1 names an auto-recharge of acct_1, but its customer belongs to acct_2:"
        " the payment is never credited"
    )
    assert told == Receipt(EventState.NEEDS_ATTENTION, reason)
    told = await till.tell("payment_intent.succeeded", recharge("pi_2", "recharge_1", customer=None))
    assert told == Receipt(EventState.NEEDS_ATTENTION, "the object names no customer")
    assert await till.rows(account_id) == await till.rows(other) == []
    # A customer that is yet to be linked may turn out to be the account's.
    await till.tell("payment_intent.succeeded", recharge("pi_3", "recharge_1", customer="cus_3"), "evt_3")
    await till.events.link(account_id, "cus_3")
    assert (await till.event_row("evt_3")).state == "applied"
    assert await till.brief(account_id) == [("auto_recharge", "25.00")]


async def test_a_payment_that_failed_first_and_succeeded_then_is_credited(till: Till) -> None:
    account_id = await till.customer()
    await till.attempt(account_id, "recharge_1")
    failed = recharge("pi_1", "recharge_1", status="requires_payment_method", failure="Your card was declined.")
    assert await till.tell("payment_intent.payment_failed", failed) == APPLIED
    assert await till.tell("payment_intent.payment_failed", failed) == ignored(
        "the auto-recharge attempt had already ended"
    )
    assert await till.tell("payment_intent.succeeded", recharge("pi_1", "recharge_1")) == APPLIED
    assert await till.brief(account_id) == [("auto_recharge", "25.00")]


async def test_a_refund_names_the_charge_and_corrects_the_top_up(till: Till) -> None:
    account_id = await till.customer()
    await till.tell(COMPLETED, session("cs_1", customer=CUSTOMER, payment_intent="pi_1"))
    given = refund("re_1", amount=500, charge="ch_1", payment_intent="pi_1")
    for kind in ("refund.created", "refund.updated", "charge.refund.updated"):
        assert await till.tell(kind, given) == APPLIED
    both = [given, refund("re_2", amount=300, charge="ch_1", payment_intent="pi_1")]
    of = charge("ch_1", customer=CUSTOMER, amount=2_000, refunded=800, payment_intent="pi_1", refunds=both)
    assert await till.tell("charge.refunded", of) == APPLIED
    top_up = "stripe_checkout_session cs_1"
    assert (await till.posted(account_id))[1:] == [
        Posted("refund", "5.00", "stripe_refund re_1", "Stripe refund re_1 of charge ch_1", top_up),
        Posted("refund", "3.00", "stripe_refund re_2", "Stripe refund re_2 of charge ch_1", top_up),
    ]
    assert await till.months(account_id) == {}


async def test_charge_without_refunds_waits_for_refund_events(till: Till) -> None:
    account_id = await till.customer()
    await till.tell(COMPLETED, session("cs_1", customer=CUSTOMER, payment_intent="pi_1"))
    of = charge("ch_1", customer=CUSTOMER, amount=2_000, refunded=800, payment_intent="pi_1")
    told = await till.tell("charge.refunded", of, "evt_c")
    assert told == Receipt(EventState.WAITING, "the event does not list all refunds of ch_1")
    for refund_id, amount in (("re_1", 500), ("re_2", 300)):
        assert (await till.event_row("evt_c")).state == "waiting"
        await till.tell("refund.created", refund(refund_id, amount=amount, payment_intent="pi_1"))
    assert (await till.event_row("evt_c")).state == "applied"
    assert await till.brief(account_id) == [("topup", "20.00"), ("refund", "5.00"), ("refund", "3.00")]


async def test_later_refund_does_not_replace_an_earlier_one(till: Till) -> None:
    account_id = await till.customer()
    await till.tell(COMPLETED, session("cs_1", customer=CUSTOMER, payment_intent="pi_1"))
    await till.tell("refund.created", refund("re_2", amount=500, payment_intent="pi_1"))
    of = charge("ch_1", customer=CUSTOMER, amount=2_000, refunded=300, payment_intent="pi_1")
    told = await till.tell("charge.refunded", of, "evt_c")
    assert told == Receipt(EventState.WAITING, "the event does not list all refunds of ch_1")
    assert await till.brief(account_id) == [("topup", "20.00"), ("refund", "5.00")]


async def test_refund_waits_for_its_payment(till: Till) -> None:
    account_id = await till.customer()
    told = await till.tell("refund.created", refund("re_1", amount=500, payment_intent="pi_1"), "evt_r")
    assert told == Receipt(EventState.WAITING, "the payment pi_1 that the refund returns is not in the ledger yet")
    await till.tell(COMPLETED, session("cs_1", customer=CUSTOMER, payment_intent="pi_1"))
    assert (await till.event_row("evt_r")).state == "applied"
    assert [row.corrects for row in await till.posted(account_id)] == [None, "stripe_checkout_session cs_1"]


async def test_a_contract_s_invoice_grants_cash_and_bonus(till: Till) -> None:
    account_id = await till.customer()
    metadata = {"contract": "C-2026-17", "bonus": "2000.00"}
    paid = invoice("in_1", customer=CUSTOMER, subtotal=1_000_000, tax=80_000, metadata=metadata, payment_intent="pi_1")
    assert await till.tell("invoice.paid", paid) == APPLIED
    assert await till.tell("invoice.paid", paid) == APPLIED
    ref = "stripe_invoice in_1"
    total = "Enterprise contract C-2026-17: $10000.00 contract → $12000.00 total credit"
    assert await till.posted(account_id) == [
        Posted("contract_grant", "10000.00", ref, f"{total} (Stripe invoice in_1)", None),
        Posted("bonus_grant", "2000.00", ref, f"{total}, with $2000.00 as bonus_grant (Stripe invoice in_1)", None),
    ]
    rows = await till.rows(account_id)
    assert {row.source for row in rows} == {"stripe_webhook"}
    await till.tell("refund.created", refund("re_1", amount=100, payment_intent="pi_1"))
    assert (await till.rows(account_id))[-1].corrects_seq == 1


async def test_invalid_bonus_is_kept_for_operators(till: Till) -> None:
    account_id = await till.customer()
    paid = invoice("in_1", customer=CUSTOMER, subtotal=100, metadata={"contract": "C-1", "bonus": "lots"})
    told = await till.tell("invoice.paid", paid, "evt_i")
    assert (told.state, "the metadata's bonus must be a decimal" in (told.reason or "")) == (
        EventState.NEEDS_ATTENTION,
        True,
    )
    assert (await till.event_row("evt_i")).payload is not None
    assert await till.rows(account_id) == []


@pytest.mark.parametrize(
    ("kind", "of", "state"),
    [
        (COMPLETED, session("cs_1", customer="cus_\0"), "waiting"),
        (COMPLETED, session("cs_\0", customer=CUSTOMER), "applied"),
        (COMPLETED, session("cs_1", customer=CUSTOMER, payment_intent="pi_\0"), "applied"),
        (COMPLETED, session("cs_1", customer=CUSTOMER, currency="\0"), "needs_attention"),
        ("refund.created", refund("re_1", amount=5, payment_intent="pi_\0"), "waiting"),
        ("payment_intent.succeeded", recharge("pi_1", "recharge_\0"), "waiting"),
        ("made\0up", {"id": "x", "object": "x"}, "ignored"),
    ],
)
async def test_event_with_any_character_is_stored(till: Till, kind: str, of: Object, state: str) -> None:
    await till.customer()
    assert (await till.tell(kind, of, "evt_\0")).state.value == state
    assert (await till.event_row("evt_\ufffd")).state == state


async def test_unreadable_event_is_stored(till: Till) -> None:
    await till.customer()
    told = await till.tell(COMPLETED, session("cs_1", customer=CUSTOMER, amount_subtotal=None))
    assert told == Receipt(EventState.NEEDS_ATTENTION, "the checkout.session has no amount_subtotal")
    expanded = session("cs_2", customer=None) | {"customer": {"id": CUSTOMER, "object": "customer"}}
    assert await till.tell(COMPLETED, expanded) == APPLIED


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "nonsense", '{"object": "event"}', '{"object": "event", "id": "evt_1", "type": "x", "data": {}}'],
)
async def test_invalid_event_is_refused(till: Till, text: str) -> None:
    with pytest.raises(BadUserInput):
        await till.events.receive(text)
    assert await till.states() == []


async def test_event_is_stored_if_the_balance_would_overflow(till: Till) -> None:
    account_id = await till.customer()
    huge = session("cs_1", customer=CUSTOMER, subtotal=900_000_000_000)
    assert await till.tell(COMPLETED, huge) == APPLIED
    told = await till.tell(COMPLETED, huge | {"id": "cs_2"}, "evt_2")
    assert told.state == EventState.NEEDS_ATTENTION
    assert "exceeds the range" in (told.reason or "")
    assert len(await till.rows(account_id)) == 1
    assert await differences(till.database) == []


async def test_failed_refund_is_taken_back_once(till: Till) -> None:
    account_id = await till.customer()
    await till.tell(COMPLETED, session("cs_1", customer=CUSTOMER, payment_intent="pi_1"))
    one = refund("re_1", amount=500, charge="ch_1", payment_intent="pi_1")
    await till.tell("refund.created", one)
    failed = one | {"status": "failed"}
    for kind in ("refund.failed", "refund.updated", "charge.refund.updated"):
        await till.tell(kind, failed)
    of = charge("ch_1", customer=CUSTOMER, amount=2_000, refunded=0, payment_intent="pi_1", refunds=[failed])
    await till.tell("charge.refunded", of)
    # An older event of the same refund comes late.
    assert await till.tell("refund.updated", one) == ignored("the refund has failed or was canceled")
    assert (await till.posted(account_id))[1:] == [
        Posted(
            "refund", "5.00", "stripe_refund re_1", "Stripe refund re_1 of charge ch_1", "stripe_checkout_session cs_1"
        ),
        Posted(
            "admin_correction",
            "-5.00",
            "stripe_refund re_1",
            "Stripe refund re_1 failed: takes back the $5.00 credited for it",
            "stripe_refund re_1",
        ),
    ]
    assert {row.source for row in await till.rows(account_id)} == {"stripe_webhook"}
    # Money that moved is no cost.
    assert await till.months(account_id) == {}
    assert await differences(till.database) == []


async def test_rows_of_other_writers_with_a_stripe_id_are_ignored(till: Till) -> None:
    account_id = await till.customer()
    refs = Ref(RefType.PROMOTION, "re_1"), Ref(RefType.PROMOTION, "cs_1")
    await till.post(account_id, *(Entry(TransactionType.BONUS, 5, "Words", ref=ref) for ref in refs))
    await till.tell(COMPLETED, session("cs_1", customer=CUSTOMER, payment_intent="pi_1"))
    one = refund("re_1", amount=500, charge="ch_1", payment_intent="pi_1")
    await till.tell("refund.created", one)
    by_hand = Entry(TransactionType.ADMIN_CORRECTION, usd("-5.00"), "By hand", corrects_seq=4)
    await till.post(account_id, by_hand, writer=OPERATOR)
    told = await till.tell("refund.failed", one | {"status": "failed"})
    assert (told.state, "had already corrected it by hand" in (told.reason or "")) == (EventState.NEEDS_ATTENTION, True)
    rows = await till.rows(account_id)
    assert [(row.type, row.corrects_seq) for row in rows[2:]] == [
        ("topup", None),
        ("refund", 3),
        ("admin_correction", 4),
        ("admin_correction", 4),
    ]


async def test_refund_canceled_before_its_credit_is_never_credited(till: Till) -> None:
    account_id = await till.customer()
    await till.tell(COMPLETED, session("cs_1", customer=CUSTOMER, payment_intent="pi_1"))
    one = refund("re_1", amount=500, payment_intent="pi_1")
    told = await till.tell("refund.updated", one | {"status": "canceled"})
    assert told == ignored("the refund was canceled before it was credited")
    assert await till.tell("refund.created", one) == ignored("the refund has failed or was canceled")
    assert await till.brief(account_id) == [("topup", "20.00")]


async def test_refund_corrected_by_an_operator_needs_attention(till: Till) -> None:
    account_id = await till.customer()
    await till.tell(COMPLETED, session("cs_1", customer=CUSTOMER, payment_intent="pi_1"))
    one = refund("re_1", amount=500, payment_intent="pi_1")
    await till.tell("refund.created", one)
    by_hand = Entry(TransactionType.ADMIN_CORRECTION, usd("-10.00"), "Unspent credit went back", corrects_seq=2)
    await till.post(account_id, by_hand, writer=OPERATOR)
    told = await till.tell("refund.failed", one | {"status": "failed"})
    assert told.state == EventState.NEEDS_ATTENTION
    assert "txn_1_3 had already corrected it by hand" in (told.reason or "")
    assert (await till.brief(account_id))[-1] == ("admin_correction", "-5.00")


@pytest.mark.parametrize(
    ("kind", "of", "reason"),
    [
        ("charge.dispute.closed", dispute("dp_1", status="lost", payment_intent="pi_1"), "the dispute dp_1 was lost"),
        (COMPLETED, session("cs_2", customer=CUSTOMER, currency="eur"), "the currency is eur, not usd"),
        (COMPLETED, session("cs_2", customer=None), "the object names no customer"),
        (
            "invoice.paid",
            invoice("in_1", customer=CUSTOMER, subtotal=100, metadata={"contract": "C-1"}, currency="eur"),
            "the currency is eur, not usd",
        ),
        (
            COMPLETED,
            session("cs_2", customer=CUSTOMER, payment_status="partly"),
            "unknown payment_status of the session: partly",
        ),
        (COMPLETED, session("cs_2", customer=CUSTOMER, discount=100, amount_total=2_000), "are inconsistent"),
        ("refund.updated", refund("re_1", amount=5, status="odd"), "unknown status of the refund: odd"),
        ("charge.dispute.closed", dispute("dp_1", status="odd"), "the dispute was closed with an unknown status: odd"),
    ],
)
async def test_event_for_a_person_is_stored_and_shown(till: Till, kind: str, of: Object, reason: str) -> None:
    account_id = await till.customer()
    await till.tell(COMPLETED, session("cs_1", customer=CUSTOMER, payment_intent="pi_1"))
    told = await till.tell(kind, of, "evt_x")
    assert told.state == EventState.NEEDS_ATTENTION
    assert reason in (told.reason or "")
    row = await till.event_row("evt_x")
    assert (row.payload is not None, row.object_id) == (True, of["id"])
    assert await stripe_events.open_counts(till.database) == {"needs_attention": 1}
    assert await till.brief(account_id) == [("topup", "20.00")]
    # A second event of the same object adds nothing to look at.
    if told.reason and "unknown" not in reason and "inconsistent" not in reason:
        assert (await till.tell(kind, of)).state == EventState.IGNORED
    dismissed = await till.events.dismiss("evt_x", "settled with the customer")
    assert (dismissed.state, dismissed.payload) == ("ignored", None)


async def test_payment_waiting_for_a_day_needs_attention_and_is_still_tried(till: Till) -> None:
    account_id = await till.account()
    await till.tell(COMPLETED, session("cs_1", customer="cus_9"), "evt_9")
    till.now += timedelta(days=1, minutes=1)
    await till.retries.run()
    row = await till.event_row("evt_9")
    assert (row.state, row.waits_for) == ("needs_attention", "cus_9")
    await till.events.link(account_id, "cus_9")
    assert (await till.event_row("evt_9")).state == "applied"
    assert await till.brief(account_id) == [("topup", "20.00")]


async def test_charge_in_another_currency_waits_for_refund_events(till: Till) -> None:
    of = charge("ch_1", customer=CUSTOMER, amount=2_000, refunded=800) | {"currency": "eur"}
    assert await till.tell("charge.refunded", of) == ignored(
        "the currency is not the ledger's: the events of the refunds themselves are applied instead"
    )


async def test_failure_of_other_payments_is_ignored(till: Till) -> None:
    failed = payment("pi_1", customer=CUSTOMER, status="requires_payment_method", failure="declined")
    assert await till.tell("payment_intent.payment_failed", failed) == ignored("the payment is not an auto-recharge")


async def test_negative_contract_bonus_is_kept_for_operators(till: Till) -> None:
    account_id = await till.customer()
    paid = invoice("in_1", customer=CUSTOMER, subtotal=100, metadata={"contract": "C-1", "bonus": "-1.00"})
    told = await till.tell("invoice.paid", paid)
    assert told == Receipt(EventState.NEEDS_ATTENTION, "the amounts that a contract grants must not be negative")
    assert await till.rows(account_id) == []


async def test_first_named_payment_is_the_invoice_payment(till: Till) -> None:
    """A payment that was recorded by hand has none."""
    account_id = await till.customer()
    paid = invoice("in_1", customer=CUSTOMER, subtotal=100, metadata={"contract": "C-1"}, payment_intent="pi_1")
    paid["payments"]["data"].insert(0, {"status": "open", "payment": {"type": "payment_record"}})
    assert await till.tell("invoice.paid", paid) == APPLIED
    await till.tell("refund.created", refund("re_1", amount=40, payment_intent="pi_1"))
    assert [row.corrects_seq for row in await till.rows(account_id)] == [None, 1]


@pytest.mark.parametrize("name", ["id", "amount"])
async def test_incomplete_refund_is_kept_for_operators(till: Till, name: str) -> None:
    await till.customer()
    told = await till.tell("refund.created", refund("re_1", amount=5) | {name: None})
    assert told == Receipt(EventState.NEEDS_ATTENTION, f"the refund has no {name}")


async def test_failed_refund_without_credit_takes_nothing_back(till: Till) -> None:
    account_id = await till.customer()
    await till.tell(COMPLETED, session("cs_1", customer=CUSTOMER, payment_intent="pi_1"))
    one = refund("re_1", amount=0, payment_intent="pi_1")
    assert await till.tell("refund.created", one) == APPLIED
    assert await till.tell("refund.failed", one | {"status": "failed"}) == APPLIED
    assert await till.brief(account_id) == [("topup", "20.00")]


async def test_charge_lists_every_refund_corrected_by_hand(till: Till) -> None:
    """Each is shown to a person, in one event."""
    account_id = await till.customer()
    await till.tell(COMPLETED, session("cs_1", customer=CUSTOMER, payment_intent="pi_1"))
    refunds = [refund(f"re_{number}", amount=500, charge="ch_1", payment_intent="pi_1") for number in (1, 2)]
    for number, one in enumerate(refunds):
        await till.tell("refund.created", one)
        by_hand = Entry(TransactionType.ADMIN_CORRECTION, -usd("5.00"), "By hand", corrects_seq=2 * number + 2)
        await till.post(account_id, by_hand, writer=OPERATOR)
    failed = [one | {"status": "failed"} for one in refunds]
    of = charge("ch_1", customer=CUSTOMER, amount=2_000, refunded=0, payment_intent="pi_1", refunds=failed)
    told = await till.tell("charge.refunded", of)
    assert told.state == EventState.NEEDS_ATTENTION
    assert [name in (told.reason or "") for name in ("re_1", "re_2")] == [True, True]


async def test_refusal_after_the_event_was_applied_changes_nothing(till: Till) -> None:
    account_id = await till.customer()
    await till.tell(COMPLETED, session("cs_1", customer=CUSTOMER), "evt_1")
    row = await till.event_row("evt_1")
    refusal = NeedsAttention("out of range", is_retried=True)
    assert await till.events._recorded(row, refusal) == row
    assert await till.brief(account_id) == [("topup", "20.00")]


async def test_refund_without_payment_waits(till: Till) -> None:
    account_id = await till.customer()
    told = await till.tell("refund.created", refund("re_1", amount=5, payment_intent=None))
    assert told.state == EventState.WAITING
    assert await till.rows(account_id) == []
