"""However Stripe's events come (in any order, twice, at once), the ledger ends the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from random import Random
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from db import stripe_events
from db.database import Database
from ledger.kinds import RefType
from tests.doses import dose
from tests.ledger.recompute import differences
from tests.ledger.stripe.till import Posted, Till, recharge
from tests.ledger.test_posting_properties import EXAMPLES
from tests.stripe_objects import Object, body, charge, event, invoice, payment, refund, session

numbers: Final = count(1)


@dataclass
class Story:
    """What happened at Stripe: the events that tell of it, and the rows that it must come to."""

    customer: str
    events: list[Object] = field(default_factory=list)
    rows: list[Posted] = field(default_factory=list)
    undone: dict[str, Posted] = field(default_factory=dict)
    """What takes a refund back, by its ref. Where the failure is told first, neither row is written."""
    attempts: list[str] = field(default_factory=list)
    foreign: bool = False
    """Something was paid in another currency, which is never credited."""

    def tell(self, kind: str, of: Object) -> None:
        self.events.append(event(kind, of))

    def top_up(self, cents: int, currency: str, *, late: bool, refunds: Sequence[int]) -> None:
        number = next(numbers)
        session_id, payment_id = f"cs_{number}", f"pi_{number}"
        paid = session(
            session_id,
            customer=self.customer,
            subtotal=cents,
            tax=cents // 10,
            currency=currency,
            payment_intent=payment_id,
        )
        self.tell("checkout.session.completed", paid | ({"payment_status": "unpaid"} if late else {}))
        if late:
            self.tell("checkout.session.async_payment_succeeded", paid)
        # Checkout's payments are told of twice.
        self.tell("payment_intent.succeeded", payment(payment_id, customer=self.customer, amount=cents))
        if currency != "usd":
            self.foreign = True
            return
        ref = f"{RefType.STRIPE_CHECKOUT_SESSION.value} {session_id}"
        title = f"Top-up through Stripe Checkout session {session_id}"
        self.rows.append(Posted("topup", _dollars(cents), ref, title, None))
        self._refund(number, cents, refunds, ref)

    def auto_recharge(self, cents: int, *, declined: bool, refunds: Sequence[int]) -> None:
        number = next(numbers)
        attempt, payment_id = f"recharge_{number}", f"pi_{number}"
        self.attempts.append(attempt)
        paid = recharge(payment_id, attempt, customer=self.customer, amount=cents)
        if declined:
            failed = paid | {"status": "requires_payment_method", "last_payment_error": {"message": "No."}}
            self.tell("payment_intent.payment_failed", failed)
        self.tell("payment_intent.succeeded", paid)
        ref = f"{RefType.STRIPE_PAYMENT_INTENT.value} {payment_id}"
        title = f"Auto-recharge: the balance fell below 10.00; Stripe payment {payment_id}"
        self.rows.append(Posted("auto_recharge", _dollars(cents), ref, title, None))
        self._refund(number, cents, refunds, ref)

    def contract(self, cents: int, bonus: int, refunds: Sequence[int]) -> None:
        number = next(numbers)
        invoice_id, payment_id, name = f"in_{number}", f"pi_{number}", f"C-{number}"
        metadata = {"contract": name} | ({"bonus": _dollars(bonus)} if bonus else {})
        paid = invoice(invoice_id, customer=self.customer, subtotal=cents, metadata=metadata, payment_intent=payment_id)
        self.tell("invoice.paid", paid)
        ref = f"{RefType.STRIPE_INVOICE.value} {invoice_id}"
        by = f" (Stripe invoice {invoice_id})"
        title = f"Enterprise contract {name}: ${_dollars(cents)} "
        title += f"contract → ${_dollars(cents + bonus)} total credit" if bonus else "of credit"
        self.rows.append(Posted("contract_grant", _dollars(cents), ref, title + by, None))
        if bonus:
            title += f", with ${_dollars(bonus)} as bonus_grant"
            self.rows.append(Posted("bonus_grant", _dollars(bonus), ref, title + by, None))
        self._refund(number, cents, refunds, ref)

    def _refund(self, number: int, cents: int, parts: Sequence[int], corrects: str) -> None:
        payment_id, charge_id = f"pi_{number}", f"ch_{number}"
        given: list[Object] = []
        for part in parts:
            one = refund(f"re_{next(numbers)}", amount=part, charge=charge_id, payment_intent=payment_id)
            given.append(one)
            self.tell("refund.created", one | {"status": "pending"})
            # Three events announce one refund, and only some say which.
            self.tell("refund.updated", one)
            of = charge(
                charge_id,
                customer=self.customer,
                amount=cents,
                refunded=sum(each["amount"] for each in given),
                payment_intent=payment_id,
                refunds=list(given) if part % 2 else None,
            )
            self.tell("charge.refunded", of)
            ref = f"{RefType.STRIPE_REFUND.value} {one['id']}"
            title = f"Stripe refund {one['id']} of charge {charge_id}"
            self.rows.append(Posted("refund", _dollars(part), ref, title, corrects))
            if part % 3 == 0:
                self._fail(one, ref, is_canceled=part % 2 == 1)

    def _fail(self, one: Object, ref: str, *, is_canceled: bool) -> None:
        """The refund turns out not to have happened: two events tell of it."""
        status, words = ("canceled", "was canceled") if is_canceled else ("failed", "failed")
        self.tell("refund.updated", one | {"status": status})
        self.tell("refund.failed", one | {"status": status})
        amount = _dollars(one["amount"])
        title = f"Stripe refund {one['id']} {words}: takes back the ${amount} credited for it"
        self.undone[ref] = Posted("admin_correction", f"-{amount}", ref, title, ref)

    def noise(self) -> None:
        number = next(numbers)
        self.tell("charge.dispute.created", {"id": f"dp_{number}", "object": "dispute", "currency": "usd"})
        self.tell("refund.failed", refund(f"re_{number}", amount=5, status="failed"))
        self.tell("invoice.paid", invoice(f"in_{number}", customer=self.customer, subtotal=700))
        self.tell("product.created", {"id": f"prod_{number}", "object": "product"})


def _dollars(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


CENTS: Final = st.integers(500, 20_000)
REFUNDS: Final = st.lists(st.integers(1, 160), max_size=3)
CHAPTERS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("top_up"), CENTS, st.sampled_from(["usd", "usd", "eur"]), st.booleans(), REFUNDS),
        st.tuples(st.just("auto_recharge"), CENTS, st.booleans(), REFUNDS),
        st.tuples(st.just("contract"), CENTS, st.sampled_from([0, 1, 50_000]), REFUNDS),
        st.tuples(st.just("noise")),
    ),
    min_size=1,
    max_size=5,
)


def written(customer: str, chapters: Sequence[tuple[object, ...]]) -> Story:
    story = Story(customer)
    for chapter in chapters:
        match chapter:
            case ("top_up", int(cents), str(currency), bool(late), list(refunds)):
                story.top_up(cents, currency, late=late, refunds=refunds)
            case ("auto_recharge", int(cents), bool(declined), list(refunds)):
                story.auto_recharge(cents, declined=declined, refunds=refunds)
            case ("contract", int(cents), int(bonus), list(refunds)):
                story.contract(cents, bonus, refunds)
            case _:
                story.noise()
    return story


def expected_rows(story: Story, posted: Sequence[Posted]) -> list[Posted]:
    """What must be posted: with a refund that failed, the row that takes it back; without both if it failed first."""
    refs = {row.ref for row in posted}
    expected = [row for row in story.rows if row.ref not in story.undone or row.ref in refs]
    return expected + [row for ref, row in story.undone.items() if ref in refs]


async def _deliver(till: Till, story: Story, random: Random) -> None:
    """Each event twice, shuffled, up to six at a time."""
    deliveries = story.events * 2
    random.shuffle(deliveries)
    while deliveries:
        together = [deliveries.pop() for _ in range(min(len(deliveries), random.randint(1, 6)))]
        till.now += timedelta(seconds=random.randint(0, 30))
        await asyncio.gather(*(till.events.receive(body(one)) for one in together))


@settings(EXAMPLES, max_examples=dose(8, 50))
@given(chapters=CHAPTERS, seed=st.integers(0, 2**32), linked_late=st.booleans())
async def test_order_of_events_does_not_change_the_ledger(
    database: Database, chapters: list[tuple[object, ...]], seed: int, linked_late: bool
) -> None:
    till, random = Till(database), Random(seed)
    account_id = await till.account()
    story = written(f"cus_{next(numbers)}", chapters)
    for attempt in story.attempts:
        # Long given up: a late payment is credited nevertheless.
        await till.attempt(account_id, attempt, state="failed", ended_at=till.now)
    if not linked_late:
        await till.events.link(account_id, story.customer)
    await _deliver(till, story, random)
    await till.events.link(account_id, story.customer)
    # What crossed each other is tried again by the worker.
    till.now += timedelta(minutes=45)
    await till.retry_all()
    posted = await till.posted(account_id)
    assert sorted(posted, key=repr) == sorted(expected_rows(story, posted), key=repr)
    told = {one["id"] for one in story.events}
    rows = [row for row in await stripe_events.newest(database, None, 10_000) if row.id in told]
    assert {row.state for row in rows} <= {"applied", "ignored", *(["needs_attention"] if story.foreign else [])}
    assert len(rows) == len(told)
    assert await differences(database) == []
