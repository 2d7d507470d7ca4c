"""Turning notices into ledger rows, in the transaction that records their event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from db import stripe_credits, stripe_customers, top_ups
from db.recharges import attempt_by_id
from db.stripe_credits import StripeCreditRow
from ledger import descriptions, recharges
from ledger.ids import account_id_text
from ledger.kinds import RefType, TransactionType, WriterKind
from ledger.money import format_nanos
from ledger.moves import Entry, Order, Ref, Writer
from ledger.posting import LedgerTransaction
from ledger.stripe.customers import note_card
from ledger.stripe.notices import (
    ChargeRefunded,
    ContractPaid,
    CustomerChange,
    CustomerChanged,
    Nothing,
    Notice,
    Recharge,
    RechargeFailed,
    Refund,
    TopUp,
    UnpaidSession,
)

WRITER: Final = Writer(WriterKind.WEBHOOK, "stripe-webhook")
OPERATION: Final = "stripe"

REFUND_WAIT: Final = timedelta(hours=1)
"""How long a refund waits for the payment that it returns: events come out of order. After it, the customer is asked
for instead, since the payment may be older than this ledger."""


@dataclass(frozen=True, slots=True)
class Applied:
    account_id: int | None
    payment_intent: str | None = None
    """Of a payment, or refund, that was credited now: others may wait for it."""


@dataclass(frozen=True, slots=True)
class Waiting:
    reason: str
    waits_for: str | None = None
    account_id: int | None = None


@dataclass(frozen=True, slots=True)
class Ignored:
    reason: str


Verdict = Applied | Waiting | Ignored


def _unknown_customer(customer: str | None) -> Waiting:
    if customer is None:
        return Waiting("it names no customer")
    return Waiting(f"the customer {customer} is of no account: link it", customer)


class _Crediting:
    """What one event comes to."""

    def __init__(self, transaction: LedgerTransaction, received_at: datetime, now: datetime) -> None:
        self._transaction = transaction
        self._connection = transaction.connection
        self._received_at = received_at
        self._now = now

    async def _account(self, customer: str | None) -> int | None:
        return None if customer is None else await stripe_customers.account_of_customer(self._connection, customer)

    async def _credit(self, account_id: int, credit: StripeCreditRow, entries: Sequence[Entry]) -> Applied:
        """Posts the entries, unless the object that they are for was credited before."""
        if credit.id not in await stripe_credits.claim(self._connection, [credit]):
            return Applied(account_id)
        await self._transaction.post(Order(account_id, WRITER, entries, OPERATION))
        return Applied(account_id, credit.payment_intent)

    def _row(self, object_id: str, account_id: int, payment_intent: str | None, nanos: int) -> StripeCreditRow:
        return StripeCreditRow(object_id, account_id, False, payment_intent, nanos, self._now)

    async def top_up(self, paid: TopUp) -> Verdict:
        account_id = await self._account(paid.customer)
        if account_id is None:
            return _unknown_customer(paid.customer)
        entry = Entry(
            TransactionType.TOPUP,
            paid.amount_nanos,
            f"Top-up through Stripe Checkout session {paid.session}",
            ref=Ref(RefType.STRIPE_CHECKOUT_SESSION, paid.session),
        )
        credit = self._row(paid.session, account_id, paid.payment_intent, paid.amount_nanos)
        applied = await self._credit(account_id, credit, [entry])
        await top_ups.complete_top_up(self._connection, paid.session, self._now)
        if applied.payment_intent is not None and paid.customer is not None:
            # Checkout has saved the card.
            await note_card(self._connection, account_id, paid.customer, self._now, paid_at=self._now)
        return applied

    async def unpaid_session(self, unpaid: UnpaidSession) -> Verdict:
        await top_ups.complete_top_up(self._connection, unpaid.session, self._now)
        return Ignored(unpaid.reason)

    async def customer_changed(self, changed: CustomerChanged) -> Verdict:
        account_id = await self._account(changed.customer)
        if account_id is None:
            return Ignored(f"the customer {changed.customer} is of no account")
        match changed.change:
            case CustomerChange.CARD_SAVED:
                await note_card(self._connection, account_id, changed.customer, self._now)
            case CustomerChange.CARD_REMOVED:
                # Another one may still be saved.
                await stripe_customers.put_news(self._connection, changed.customer, ask_at=self._now)
            case CustomerChange.DELETED:
                gone = {"deleted_at": self._now, "has_card": False, "ask_at": None}
                await stripe_customers.put_news(self._connection, changed.customer, **gone)
        return Applied(account_id)

    async def recharge(self, paid: Recharge) -> Verdict:
        attempt = await attempt_by_id(self._connection, paid.attempt)
        if attempt is None:
            return Waiting(f"there is no auto-recharge {paid.attempt[:100]}: was it another gateway's?")
        account_id = await self._account(paid.customer)
        if account_id is None:
            return _unknown_customer(paid.customer)
        if account_id != attempt.account_id:
            of, to = account_id_text(attempt.account_id), account_id_text(account_id)
            return Waiting(
                f"the payment {paid.payment_intent} names an auto-recharge of {of}, but its customer is of {to}:"
                " correct it by hand"
            )
        entry = Entry(
            TransactionType.AUTO_RECHARGE,
            paid.amount_nanos,
            f"Auto-recharge: the balance fell below {format_nanos(attempt.threshold_nanos)};"
            f" Stripe payment {paid.payment_intent}",
            ref=Ref(RefType.STRIPE_PAYMENT_INTENT, paid.payment_intent),
        )
        credit = self._row(paid.payment_intent, attempt.account_id, paid.payment_intent, paid.amount_nanos)
        applied = await self._credit(attempt.account_id, credit, [entry])
        if applied.payment_intent is not None:
            await recharges.succeed(self._connection, paid.attempt, paid.payment_intent, self._now)
        return applied

    async def recharge_failed(self, failed: RechargeFailed) -> Verdict:
        settings = await recharges.fail(self._connection, failed.attempt, failed.failure, self._now)
        return Ignored("it was known already") if settings is None else Applied(settings.account_id)

    async def contract(self, paid: ContractPaid) -> Verdict:
        account_id = await self._account(paid.customer)
        if account_id is None:
            return _unknown_customer(paid.customer)
        ref, by = Ref(RefType.STRIPE_INVOICE, paid.invoice), f" (Stripe invoice {paid.invoice})"
        cash_text, bonus_text = descriptions.contract(paid.contract, paid.cash_nanos, paid.bonus_nanos)
        parts = (
            (TransactionType.CONTRACT_GRANT, paid.cash_nanos, cash_text),
            (TransactionType.BONUS_GRANT, paid.bonus_nanos, bonus_text),
        )
        entries = [Entry(kind, nanos, text + by, ref=ref) for kind, nanos, text in parts if nanos]
        credit = self._row(paid.invoice, account_id, paid.payment_intent, paid.cash_nanos)
        return await self._credit(account_id, credit, entries)

    async def refunds(self, refunds: Sequence[Refund], payment_intent: str | None, customer: str | None) -> Verdict:
        """Those of one payment."""
        paid = None
        if payment_intent is not None:
            paid = await stripe_credits.credited_payment(self._connection, payment_intent)
        if paid is None and self._now < self._received_at + REFUND_WAIT:
            reason = f"the payment {payment_intent} that it returns is not in the ledger yet"
            return Waiting(reason, payment_intent)
        account_id = paid.account_id if paid else await self._account(customer)
        if account_id is None:
            return _unknown_customer(customer)
        corrects = await stripe_credits.first_row_of(self._connection, account_id, paid.id) if paid else None
        claimed = await stripe_credits.claim(
            self._connection,
            [StripeCreditRow(one.id, account_id, True, payment_intent, one.amount_nanos, self._now) for one in refunds],
        )
        new = {one.id: one for one in refunds if one.id in claimed and one.amount_nanos}
        entries = [_refund_entry(one, corrects) for one in new.values()]
        if not entries:
            return Applied(account_id)
        await self._transaction.post(Order(account_id, WRITER, entries, OPERATION))
        return Applied(account_id, payment_intent)

    async def charge_refunded(self, charge: ChargeRefunded) -> Verdict:
        verdict: Verdict = Ignored("it tells of no refund")
        if charge.refunds:
            verdict = await self.refunds(charge.refunds, charge.payment_intent, charge.customer)
            if not isinstance(verdict, Applied):
                return verdict
        if not charge.names_less_than_all:
            return verdict
        known = await stripe_credits.refunded_nanos(self._connection, charge.payment_intent or "")
        # More is known where a later refund came first: then one of these may be missing all the same.
        if known == charge.refunded_nanos or (charge.nobody_to_ask and known > charge.refunded_nanos):
            return Applied(None)
        return Waiting(f"it does not name all refunds of {charge.charge}", charge.payment_intent)


def _refund_entry(refund: Refund, corrects_seq: int | None) -> Entry:
    of = f"charge {refund.charge}" if refund.charge else f"payment {refund.payment_intent}"
    return Entry(
        TransactionType.REFUND,
        refund.amount_nanos,
        f"Stripe refund {refund.id} of {of}",
        ref=Ref(RefType.STRIPE_REFUND, refund.id),
        corrects_seq=corrects_seq,
    )


async def apply(transaction: LedgerTransaction, notice: Notice, received_at: datetime, now: datetime) -> Verdict:
    """Raises BillingError where the ledger refuses the rows; the transaction must then be rolled back."""
    crediting = _Crediting(transaction, received_at, now)
    match notice:
        case TopUp():
            return await crediting.top_up(notice)
        case UnpaidSession():
            return await crediting.unpaid_session(notice)
        case Recharge():
            return await crediting.recharge(notice)
        case RechargeFailed():
            return await crediting.recharge_failed(notice)
        case ContractPaid():
            return await crediting.contract(notice)
        case Refund():
            return await crediting.refunds([notice], notice.payment_intent, notice.customer)
        case ChargeRefunded():
            return await crediting.charge_refunded(notice)
        case CustomerChanged():
            return await crediting.customer_changed(notice)
        case Nothing():
            return Ignored(notice.reason)
