"""Refunds in Stripe: credits each refund once, and takes the credit back once if the refund fails or is canceled.

Events may arrive in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from db import stripe_credits
from db.stripe_credits import StripeCreditRow
from ledger.commands import Entry, Ref
from ledger.descriptions import dollars
from ledger.ids import transaction_id_text
from ledger.kinds import RefType, TransactionType
from ledger.stripe.booking import Booking
from ledger.stripe.notices import ChargeRefunded, FailedRefund, Refund
from ledger.stripe.verdicts import Applied, Ignored, Verdict, Waiting, unknown_customer

REFUND_WAIT: Final = timedelta(hours=1)
"""How long a refund waits for its payment, because events arrive out of order. After this time the account is found by
the customer instead, because the payment may be older than this ledger."""


class Refunding(Booking):
    async def refunds(self, refunds: Sequence[Refund], payment_intent: str | None, customer: str | None) -> Verdict:
        """Credits refunds of one payment."""
        failed = await stripe_credits.failed_refunds(self._connection, [one.id for one in refunds])
        refunds = [one for one in refunds if one.id not in failed]
        if not refunds:
            return Ignored("the refund has failed or was canceled")
        paid = None
        if payment_intent is not None:
            paid = await stripe_credits.credited_payment(self._connection, payment_intent)
        if paid is None and self._now < self._received_at + REFUND_WAIT:
            reason = f"the payment {payment_intent} that the refund returns is not in the ledger yet"
            return Waiting(reason, payment_intent, is_harmless=True)
        account_id = paid.account_id if paid else await self._account(customer)
        if account_id is None:
            return unknown_customer(customer, is_harmless=True)
        corrects = await stripe_credits.first_row_of(self._connection, account_id, paid.id) if paid else None
        claimed = await stripe_credits.claim(
            self._connection,
            [StripeCreditRow(one.id, account_id, True, payment_intent, one.amount_nanos, self._now) for one in refunds],
        )
        new = {one.id: one for one in refunds if one.id in claimed and one.amount_nanos}
        if not new:
            return Applied(account_id)
        await self._post(account_id, [_refund_entry(one, corrects) for one in new.values()])
        return Applied(account_id, payment_intent)

    async def failed_refund(self, failed: FailedRefund) -> Verdict:
        """Takes back the credit of a failed refund. The refund is never credited from now on."""
        row = StripeCreditRow(
            failed.id, None, True, failed.payment_intent, failed.amount_nanos, self._now, failed_at=self._now
        )
        if failed.id in await stripe_credits.claim(self._connection, [row]):
            return Ignored(f"the refund {failed.outcome} before it was credited")
        credited = await stripe_credits.fail_refund(self._connection, failed.id, self._now)
        if credited is None or credited.account_id is None:
            return Ignored("the credit was already written")
        seq = await stripe_credits.first_row_of(self._connection, credited.account_id, failed.id)
        if seq is None:
            return Applied(credited.account_id, credited.payment_intent)
        return await self._take_back(credited.account_id, seq, failed, credited)

    async def _take_back(self, account_id: int, seq: int, failed: FailedRefund, credited: StripeCreditRow) -> Verdict:
        credit = dollars(credited.amount_nanos)
        entry = Entry(
            TransactionType.ADMIN_CORRECTION,
            -credited.amount_nanos,
            f"Stripe refund {failed.id} {failed.outcome}: takes back the {credit} credited for it",
            ref=Ref(RefType.STRIPE_REFUND, failed.id),
            corrects_seq=seq,
        )
        by_hand = await stripe_credits.corrections_of(self._connection, account_id, seq)
        await self._post(account_id, [entry])
        doubt = _corrected_by_hand(account_id, failed, by_hand) if by_hand else None
        return Applied(account_id, credited.payment_intent, doubt)

    async def charge_refunded(self, charge: ChargeRefunded) -> Verdict:
        verdict: Verdict = Ignored("the object has no refund")
        if charge.refunds:
            verdict = await self.refunds(charge.refunds, charge.payment_intent, charge.customer)
            if isinstance(verdict, Waiting):
                return verdict
        for one in charge.failed_refunds:
            verdict = _both(verdict, await self.failed_refund(one))
        if not charge.names_less_than_all or _doubt_of(verdict):
            return verdict
        if await self._knows_all(charge):
            return Applied(None)
        return await self._unnamed(charge)

    async def _knows_all(self, charge: ChargeRefunded) -> bool:
        """Returns whether the known refunds add up to the charge's refunded amount, with or without failed refunds."""
        known, lasting = await stripe_credits.refunded_nanos(self._connection, charge.payment_intent or "")
        # The known sum is larger if a later refund arrived first. One of these refunds may then still be missing.
        return charge.refunded_nanos in (known, lasting) or (charge.nobody_to_ask and known > charge.refunded_nanos)

    async def _unnamed(self, charge: ChargeRefunded) -> Waiting:
        payment = charge.payment_intent
        paid = None if payment is None else await stripe_credits.credited_payment(self._connection, payment)
        account_id = paid.account_id if paid else None
        reason = f"the event does not list all refunds of {charge.charge}"
        return Waiting(reason, payment, account_id, is_harmless=paid is None)


def _doubt_of(verdict: Verdict) -> str | None:
    return verdict.doubt if isinstance(verdict, Applied) else None


def _both(one: Verdict, other: Verdict) -> Verdict:
    if not isinstance(other, Applied):
        return one
    return replace(other, doubt="; ".join(filter(None, (_doubt_of(one), other.doubt))) or None)


def _corrected_by_hand(account_id: int, failed: FailedRefund, seqs: Sequence[int]) -> str:
    rows = ", ".join(transaction_id_text(account_id, seq) for seq in seqs)
    return (
        f"the refund {failed.id} {failed.outcome}, and its credit was taken back, but {rows} had already corrected it"
        " by hand: undo that correction if the money has not left"
    )


def _refund_entry(refund: Refund, corrects_seq: int | None) -> Entry:
    of = f"charge {refund.charge}" if refund.charge else f"payment {refund.payment_intent}"
    return Entry(
        TransactionType.REFUND,
        refund.amount_nanos,
        f"Stripe refund {refund.id} of {of}",
        ref=Ref(RefType.STRIPE_REFUND, refund.id),
        corrects_seq=corrects_seq,
    )
