"""Credits: turns notices into ledger rows, in the transaction that records their event."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from db import stripe_credits, stripe_customers, stripe_receipts, top_ups
from db.recharges import attempt_by_id
from db.stripe_credits import StripeCreditRow
from ledger import descriptions, recharges
from ledger.commands import Entry, Ref
from ledger.ids import account_id_text
from ledger.kinds import RefType, TransactionType
from ledger.money import format_nanos
from ledger.posting import LedgerTransaction
from ledger.stripe.booking import Booking
from ledger.stripe.customers import record_card
from ledger.stripe.notices import (
    ChargeRefunded,
    Concern,
    ContractPaid,
    CustomerChange,
    CustomerChanged,
    FailedRefund,
    Nothing,
    Notice,
    Receipt,
    Recharge,
    RechargeFailed,
    Refund,
    TopUp,
    UnpaidSession,
)
from ledger.stripe.refunds import Refunding
from ledger.stripe.verdicts import Applied, Ignored, NeedsAttention, Verdict, Waiting, unknown_customer


class _Crediting(Booking):
    async def _credit(
        self, account_id: int, credit: StripeCreditRow, entries: Sequence[Entry], doubt: str | None = None
    ) -> Applied:
        """Posts the entries, unless their Stripe object was credited before."""
        if credit.id not in await stripe_credits.claim(self._connection, [credit]):
            return Applied(account_id)
        await self._post(account_id, entries)
        return Applied(account_id, credit.payment_intent, doubt)

    def _row(self, object_id: str, account_id: int, payment_intent: str | None, nanos: int) -> StripeCreditRow:
        return StripeCreditRow(object_id, account_id, False, payment_intent, nanos, self._now)

    async def top_up(self, paid: TopUp) -> Verdict:
        account_id = await self._account(paid.customer)
        if account_id is None:
            return unknown_customer(paid.customer)
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
            # Checkout saved the card.
            await record_card(self._connection, account_id, paid.customer, self._now, paid_at=self._now)
        return applied

    async def unpaid_session(self, unpaid: UnpaidSession) -> Verdict:
        await top_ups.complete_top_up(self._connection, unpaid.session, self._now)
        return Ignored(unpaid.reason)

    async def customer_changed(self, changed: CustomerChanged) -> Verdict:
        account_id = await self._account(changed.customer)
        if account_id is None:
            return Ignored(f"the customer {changed.customer} is not linked to an account")
        match changed.change:
            case CustomerChange.CARD_SAVED:
                await record_card(self._connection, account_id, changed.customer, self._now)
            case CustomerChange.CARD_REMOVED:
                # Another card may still be saved.
                await stripe_customers.update_customer(self._connection, changed.customer, ask_at=self._now)
            case CustomerChange.DELETED:  # pragma: no branch  the last kind
                gone = {"deleted_at": self._now, "has_card": False, "ask_at": None}
                await stripe_customers.update_customer(self._connection, changed.customer, **gone)
        return Applied(account_id)

    async def receipt(self, issued: Receipt) -> Verdict:
        account_id = await self._account(issued.customer)
        if account_id is None:
            return Ignored(f"the customer {issued.customer} is not linked to an account")
        await stripe_receipts.put_receipt(self._connection, account_id, issued.payment_intent, issued.url)
        return Applied(account_id)

    async def recharge(self, paid: Recharge) -> Verdict:
        attempt = await attempt_by_id(self._connection, paid.attempt)
        if attempt is None:
            return Waiting(f"unknown auto-recharge {paid.attempt[:100]}: it may belong to another gateway")
        account_id = paid.customer_elsewhere or await self._account(paid.customer)
        if account_id is None:
            return unknown_customer(paid.customer)
        if account_id != attempt.account_id:
            of, to = account_id_text(attempt.account_id), account_id_text(account_id)
            reason = (
                f"the payment {paid.payment_intent} names an auto-recharge of {of}, but its customer belongs to {to}:"
                " the payment is never credited"
            )
            return NeedsAttention(reason, attempt.account_id if paid.customer_elsewhere else account_id)
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
        return (
            Ignored("the auto-recharge attempt had already ended") if settings is None else Applied(settings.account_id)
        )

    async def contract(self, paid: ContractPaid) -> Verdict:
        account_id = await self._account(paid.customer)
        if account_id is None:
            return unknown_customer(paid.customer)
        ref, by = Ref(RefType.STRIPE_INVOICE, paid.invoice), f" (Stripe invoice {paid.invoice})"
        cash_text, bonus_text = descriptions.contract(paid.contract, paid.cash_nanos, paid.bonus_nanos)
        parts = (
            (TransactionType.CONTRACT_GRANT, paid.cash_nanos, cash_text),
            (TransactionType.BONUS_GRANT, paid.bonus_nanos, bonus_text),
        )
        entries = [Entry(kind, nanos, text + by, ref=ref) for kind, nanos, text in parts if nanos]
        credit = self._row(paid.invoice, account_id, paid.payment_intent, paid.cash_nanos)
        return await self._credit(account_id, credit, entries, paid.doubt)

    async def concern(self, concern: Concern) -> Verdict:
        account_id = await self._account(concern.customer)
        if account_id is None and concern.payment_intent is not None:
            paid = await stripe_credits.credited_payment(self._connection, concern.payment_intent)
            account_id = paid.account_id if paid else None
        return NeedsAttention(concern.reason, account_id)


async def _refunded(refunding: Refunding, notice: Refund | FailedRefund | ChargeRefunded) -> Verdict:
    match notice:
        case Refund():
            return await refunding.refunds([notice], notice.payment_intent, notice.customer)
        case FailedRefund():
            return await refunding.failed_refund(notice)
        case ChargeRefunded():  # pragma: no branch  the last kind
            return await refunding.charge_refunded(notice)


async def apply(transaction: LedgerTransaction, notice: Notice, received_at: datetime, now: datetime) -> Verdict:
    """Applies the notice. Raises BillingError if the ledger refuses the rows: roll back the transaction then."""
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
        case CustomerChanged():
            return await crediting.customer_changed(notice)
        case Receipt():
            return await crediting.receipt(notice)
        case Concern():
            return await crediting.concern(notice)
        case Nothing():
            return Ignored(notice.reason)
    return await _refunded(Refunding(transaction, received_at, now), notice)
