"""Amounts: the credit for a Checkout session or an invoice, computed from Stripe's amounts.

The credit is what was bought, before tax, after discounts and without shipping, as far as it was paid in money. This is
the total minus all tax and shipping, so it does not matter whether prices included tax. docs/stripe.md explains each
amount, with examples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ledger.money import format_nanos
from ledger.stripe.shapes import (
    Object,
    UnexpectedShape,
    id_of,
    ids_of,
    listed,
    nanos_of,
    object_of,
    objects_of,
    optional_nanos,
    optional_text,
)

_RECORDED_BY_HAND: Final = frozenset({"payment_record", "out_of_band_payment"})
"""Types of an invoice's payments that were made outside Stripe."""

_BILLING_CREDIT: Final = "credit_balance_transaction"


@dataclass(frozen=True, slots=True)
class Shipping:
    """Shipping and its tax, both in nano-dollars."""

    net_nanos: int
    tax_nanos: int


@dataclass(frozen=True, slots=True)
class Paid:
    nanos: int
    """The credit."""
    doubt: str | None
    """Why more credit may be due, which a person must decide."""


def bought_in_session(of: Object) -> int:
    """Returns the nano-dollars of a paid session of mode `payment`. All of it was paid in money. Raises
    UnexpectedShape."""
    details = {"object": "checkout.session's total_details", **object_of(of, "total_details")}
    discounts = nanos_of(details, "amount_discount")
    shipping = _shipping(of, optional_nanos(details, "amount_shipping"))
    return _bought(of, "amount_subtotal", "amount_total", discounts, nanos_of(details, "amount_tax"), shipping)


def paid_by_invoice(of: Object) -> Paid:
    """Returns the credit for a paid invoice. Raises UnexpectedShape."""
    shipping = _shipping(of, optional_nanos(of, "amount_shipping"))
    tax = _tax_of_invoice(of, shipping)
    bought = _bought(of, "subtotal", "total", _discounts_of_invoice(of), tax, shipping)
    unpaid = nanos_of(of, "total") - _money(of)
    paid = max(bought - unpaid, 0)
    return Paid(paid, _doubt(of, paid, unpaid, tax))


def _bought(of: Object, subtotal: str, total: str, discounts: int, tax: int, shipping: Shipping) -> int:
    """Returns the amount bought: before tax, after discounts, without shipping.

    Raises UnexpectedShape if it is more than the subtotal allows.
    """
    before, after = nanos_of(of, subtotal), nanos_of(of, total)
    bought = after - tax - shipping.net_nanos
    if min(discounts, tax, shipping.net_nanos, bought) < 0 or bought > before - discounts:
        parts = {
            subtotal: before,
            "discounts": discounts,
            "tax": tax,
            "shipping": shipping.net_nanos,
            total: after,
        }
        told = ", ".join(f"{name} {format_nanos(nanos)}" for name, nanos in parts.items())
        msg = f"the amounts are inconsistent: {told}"
        raise UnexpectedShape(msg)
    return bought


def _shipping(of: Object, amount_nanos: int | None) -> Shipping:
    """Returns the shipping. If its tax is not listed separately, the whole amount counts as shipping without tax."""
    cost = object_of(of, "shipping_cost")
    if not cost:
        return Shipping(amount_nanos or 0, 0)
    tax = nanos_of(cost, "amount_tax")
    return Shipping(nanos_of(cost, "amount_total") - tax, tax)


def _sum(amounts: Iterable[Object]) -> int:
    return sum(nanos_of(one, "amount") for one in amounts)


def _listed_tax(of: Object) -> int | None:
    """Returns the listed tax: `total_taxes`, `total_tax_amounts` or `tax`, newest API version first; null means
    none."""
    for name in ("total_taxes", "total_tax_amounts"):
        if isinstance(of.get(name), list):
            return _sum(objects_of(of, name))
    return (optional_nanos(of, "tax") or 0) if "tax" in of else None


def _tax_of_invoice(of: Object, shipping: Shipping) -> int:
    """Returns all tax: on top of prices, included in prices, and on shipping."""
    listed_tax, excluding = _listed_tax(of), optional_nanos(of, "total_excluding_tax")
    if excluding is None:
        if listed_tax is None:
            raise UnexpectedShape("the invoice does not state its tax")
        return listed_tax
    tax = nanos_of(of, "total") - excluding
    if listed_tax not in (None, tax, tax - shipping.tax_nanos):
        msg = f"the amounts are inconsistent: tax {format_nanos(tax)} and {format_nanos(listed_tax or 0)}"
        raise UnexpectedShape(msg)
    return tax


def _discounts_of_invoice(of: Object) -> int:
    """Returns what is deducted from the subtotal: billing credits and discounts.

    Discounts on single items are not counted, because the subtotal already excludes them.
    """
    of_items = {one for line in listed(object_of(of, "lines")) for one in ids_of(line, "discounts")}
    discounts = [one for one in objects_of(of, "total_discount_amounts") if id_of(one, "discount") not in of_items]
    pretax = objects_of(of, "total_pretax_credit_amounts")
    return _sum(discounts) + _sum(one for one in pretax if optional_text(one, "type") == _BILLING_CREDIT)


def _recorded_by_hand(of: Object) -> int:
    """Returns what was paid outside Stripe, such as a bank transfer that was entered by hand. This counts as money."""
    told = optional_nanos(of, "amount_paid_off_stripe")
    if told is not None:
        return told
    payments = [one for one in listed(object_of(of, "payments")) if optional_text(one, "status") == "paid"]
    by_hand = [one for one in payments if optional_text(object_of(one, "payment"), "type") in _RECORDED_BY_HAND]
    return sum(optional_nanos(one, "amount_paid") or 0 for one in by_hand)


def _money(of: Object) -> int:
    """Returns what was paid in money for this invoice. Raises UnexpectedShape if Stripe does not say how all was
    paid."""
    due, paid = nanos_of(of, "amount_due"), nanos_of(of, "amount_paid")
    known = due if of.get("paid_out_of_band") is True else paid + _recorded_by_hand(of)
    if known < due:
        rest = format_nanos(due - known)
        msg = f"the invoice is paid, but it does not state how the last {rest} of {format_nanos(due)} were paid"
        raise UnexpectedShape(msg)
    starting, ending = optional_nanos(of, "starting_balance") or 0, optional_nanos(of, "ending_balance") or 0
    # A debt from earlier invoices is collected with this invoice, but is not payment for it.
    debt = max(starting - max(ending, 0), 0)
    return min(due - debt, nanos_of(of, "total"))


def _doubt(of: Object, paid: int, unpaid: int, tax: int) -> str | None:
    notes = optional_nanos(of, "pre_payment_credit_notes_amount") or 0
    found = []
    # Without tax, a credit note reduces what was bought by the same amount as what was due.
    if unpaid and not (unpaid == notes and tax == 0):
        found.append(
            f"a credit note or the customer's balance paid {format_nanos(unpaid)} of the invoice: at least"
            f" {format_nanos(paid)} of credit is due"
        )
    overpaid = optional_nanos(of, "amount_overpaid") or 0
    if overpaid:
        found.append(
            f"the customer paid {format_nanos(overpaid)} more than was due: Stripe keeps it in the customer's balance"
        )
    return "; ".join(found) or None
