"""Random events of Stripe's: payments and their refunds, invoices, disputes, cards, and what makes no sense."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ledger.stripe.notices import BONUS, CONTRACT, EVENT_TYPES, RECHARGE
from tests.gateway.differential.calls import AtStripe, Webhook
from tests.gateway.differential.known import Known
from tests.stripe_objects import (
    Object,
    body,
    charge,
    dispute,
    event,
    invoice,
    payment,
    payment_method,
    refund,
    session,
)


def _cents(known: Known) -> int:
    return known.random.choice((500, 2_000, known.random.randint(1, 30_000), 0, 10**15))


def _currency(known: Known) -> str:
    return "usd" if known.often(0.9) else known.random.choice(("eur", "USD", "ß"))


def _customer(known: Known) -> str | None:
    return None if known.often(0.05) else known.random.choice(known.customers)


def _paid_session(known: Known) -> tuple[str, Object]:
    number = known.next_number()
    session_id, customer = known.one_of(known.sessions, (f"cs_{number}", _customer(known) or ""))
    if known.often(0.5):
        session_id, customer = f"cs_{number}", _customer(known) or ""
    cents, intent = _cents(known), f"pi_s{number}"
    known.payments.append((intent, customer, cents))
    paid = session(
        session_id,
        customer=customer or None,
        subtotal=cents,
        tax=known.random.choice((0, cents // 10)),
        included_tax=known.random.choice((0, 0, cents // 20)),
        currency=_currency(known),
        payment_status=known.random.choice(("paid", "paid", "paid", "unpaid", "strange")),
        payment_intent=intent,
    )
    kinds = ("checkout.session.completed", "checkout.session.completed", "checkout.session.async_payment_succeeded")
    return known.random.choice(kinds), paid


def _refunded(known: Known) -> tuple[str, Object]:
    intent, customer, cents = known.one_of(known.payments, ("pi_none", None, 100))
    given = refund(
        f"re_{known.random.randint(1, 30)}",
        amount=known.random.choice((1, 100, cents, cents + 1)),
        charge=f"ch_{intent}",
        payment_intent=intent,
        currency=_currency(known),
        status=known.random.choice(("succeeded", "succeeded", "pending", "failed", "canceled", "odd")),
    )
    roll = known.random.random()
    if roll < 0.25:
        listed = [given] if known.often(0.5) else None
        refunds_cents = given["amount"]
        of = charge(
            f"ch_{intent}",
            customer=customer,
            amount=cents,
            refunded=refunds_cents,
            payment_intent=intent,
            refunds=listed,
        )
        return "charge.refunded", of
    if given["status"] in {"failed", "canceled"} and known.often(0.5):
        return "refund.failed", given
    return known.random.choice(("refund.created", "refund.updated", "charge.refund.updated")), given


def _recharged(known: Known) -> tuple[str, Object]:
    number = known.next_number()
    made = known.one_of(known.attempts, {})
    if not made or known.often(0.2):
        attempt = {RECHARGE: f"recharge_{number}"} if known.often(0.7) else {}
        made = payment(f"pi_r{number}", customer=_customer(known), amount=_cents(known), metadata=attempt)
    known.payments.append((made["id"], made["customer"], made["amount"]))
    if known.often(0.3):
        failed = made | {"status": "canceled", "last_payment_error": {"message": known.text()}}
        return known.random.choice(("payment_intent.payment_failed", "payment_intent.canceled")), failed
    return "payment_intent.succeeded", made | {"status": "succeeded", "amount_received": made["amount"]}


def _invoiced(known: Known) -> tuple[str, Object]:
    number, cents = known.next_number(), _cents(known)
    metadata = {CONTRACT: known.ref_id()} if known.often(0.9) else {}
    if known.often(0.5):
        metadata[BONUS] = known.amount()
    intent, customer = f"pi_i{number}", _customer(known)
    known.payments.append((intent, customer, cents))
    paid = invoice(
        f"in_{known.random.randint(1, 40)}",
        customer=customer,
        subtotal=cents,
        discount=known.random.choice((0, 0, cents // 4)),
        tax=known.random.choice((0, cents // 5)),
        included_tax=known.random.choice((0, 0, cents // 6)),
        balance=known.random.choice((0, 0, 0, cents // 3)),
        credit_notes=known.random.choice((0, 0, 0, 1)),
        metadata=metadata,
        currency=_currency(known),
        payment_intent=intent,
    )
    return "invoice.paid", paid


def _disputed(known: Known) -> tuple[str, Object]:
    intent, _, cents = known.one_of(known.payments, ("pi_none", None, 100))
    status = known.random.choice(("lost", "won", "warning_closed", "under_review"))
    of = dispute(f"dp_{known.next_number()}", status=status, payment_intent=intent, amount=cents)
    return known.random.choice(("charge.dispute.closed", "charge.dispute.created")), of


def _card(known: Known) -> tuple[str, Object]:
    if known.often(0.2):
        return "customer.deleted", {"id": _customer(known), "object": "customer"}
    return "payment_method.attached", payment_method(f"pm_{known.next_number()}", _customer(known))


def _senseless(known: Known) -> tuple[str, Object]:
    return known.random.choice((*EVENT_TYPES, known.text())), {"id": known.text(), "object": "ß"}


_EVENTS: Final[Mapping[Callable[[Known], tuple[str, Object]], int]] = {
    _paid_session: 6,
    _refunded: 6,
    _recharged: 4,
    _invoiced: 3,
    _disputed: 1,
    _card: 2,
    _senseless: 1,
}


def webhook(known: Known) -> Webhook:
    """A new event, or one that is told once more."""
    if known.events and known.often(0.2):
        return Webhook(known.one_of(known.events, ""))
    kind, of = known.random.choices(list(_EVENTS), list(_EVENTS.values()))[0](known)
    event_id = f"evt_{known.next_number()}" if known.often(0.95) else known.text()
    previous = {"customer": _customer(known)} if known.often(0.1) else None
    told = event(kind, of, event_id, livemode=known.often(0.03), previous=previous)
    text = body(told)
    if known.often(0.02):
        text = known.random.choice(("{}", "[]", text[:-5], text + "\x00", "null"))
    known.events.append(text)
    known.event_ids.append(event_id)
    return Webhook(text)


def at_stripe(known: Known) -> AtStripe:
    given: dict[str, Any] = {}
    if known.often(0.6):
        customer = known.random.choice(known.customers)
        given["cards"] = {customer: known.random.choice(([], ["pm_1"], ["pm_1"], ["pm_2", "pm_1"]))}
    if known.often(0.3):
        intent, _, cents = known.one_of(known.payments, ("pi_none", None, 100))
        of = refund(f"re_{known.random.randint(1, 30)}", amount=cents, charge=f"ch_{intent}", payment_intent=intent)
        given["refunds"] = [of]
    if known.often(0.3):
        given["faults"] = [known.random.choice(("500", "503", "429", "html", "declines", "breaks_off", "cut_short"))]
    return AtStripe(
        declines_all=known.often(0.2), payment_status="processing" if known.often(0.2) else "succeeded", **given
    )
