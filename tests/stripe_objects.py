"""Objects and events in the shapes that Stripe sends, with values of our own making. Amounts are cents.

`tests/ledger/stripe/test_shapes.py` compares them with Stripe's own examples where those are at hand.
"""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from stripe import WebhookSignature

Object = dict[str, Any]

SECRET = "whsec_of_the_tests"
CREATED = 1_794_000_000

_numbers = count(1)


def session(
    session_id: str,
    *,
    customer: str | None,
    subtotal: int = 2_000,
    discount: int = 0,
    tax: int = 0,
    included_tax: int = 0,
    shipping: int = 0,
    currency: str = "usd",
    payment_status: str = "paid",
    payment_intent: str | None = None,
    **changed: Any,
) -> Object:
    """`tax` is on top of prices, `included_tax` within them; shipping is not taxed."""
    return {
        "id": session_id,
        "object": "checkout.session",
        "amount_subtotal": subtotal,
        "amount_total": subtotal - discount + tax + shipping,
        "created": CREATED,
        "currency": currency,
        "customer": customer,
        "expires_at": CREATED + 86_400,
        "customer_details": {"address": None, "email": "somebody@example.com", "name": None, "phone": None},
        "livemode": False,
        "metadata": {},
        "mode": "payment",
        "payment_intent": payment_intent,
        "payment_status": payment_status,
        "shipping_cost": shipping_cost(shipping),
        "status": "complete",
        "total_details": {
            "amount_discount": discount,
            "amount_shipping": shipping,
            "amount_tax": tax + included_tax,
        },
        "url": None,
    } | changed


def shipping_cost(net: int, tax: int = 0) -> Object | None:
    """Of a rate whose tax is on top of it."""
    if not net:
        return None
    return {"amount_subtotal": net, "amount_tax": tax, "amount_total": net + tax, "shipping_rate": "shr_1"}


def payment(
    payment_id: str,
    *,
    customer: str | None,
    amount: int = 2_000,
    currency: str = "usd",
    status: str = "succeeded",
    metadata: dict[str, str] | None = None,
    failure: str | None = None,
) -> Object:
    error = None if failure is None else {"type": "card_error", "code": "card_declined", "message": failure}
    return {
        "id": payment_id,
        "object": "payment_intent",
        "amount": amount,
        "amount_received": amount if status == "succeeded" else 0,
        "created": CREATED,
        "currency": currency,
        "customer": customer,
        "last_payment_error": error,
        "latest_charge": None,
        "livemode": False,
        "metadata": metadata or {},
        "status": status,
    }


def refund(
    refund_id: str,
    *,
    amount: int,
    charge: str | None = "ch_1",
    payment_intent: str | None = None,
    currency: str = "usd",
    status: str = "succeeded",
) -> Object:
    return {
        "id": refund_id,
        "object": "refund",
        "amount": amount,
        "charge": charge,
        "created": CREATED,
        "currency": currency,
        "metadata": {},
        "payment_intent": payment_intent,
        "reason": None,
        "status": status,
    }


def charge(
    charge_id: str,
    *,
    customer: str | None,
    amount: int,
    refunded: int,
    payment_intent: str | None = None,
    refunds: list[Object] | None = None,
) -> Object:
    """Newer API versions leave the list of refunds out."""
    listed = {} if refunds is None else {"refunds": listing(refunds)}
    return {
        "id": charge_id,
        "object": "charge",
        "amount": amount,
        "amount_refunded": refunded,
        "created": CREATED,
        "currency": "usd",
        "customer": customer,
        "livemode": False,
        "metadata": {},
        "payment_intent": payment_intent,
        "receipt_url": f"https://pay.stripe.com/receipts/payment/{charge_id}",
        "refunded": refunded == amount,
        "status": "succeeded",
    } | listed


def invoice(
    invoice_id: str,
    *,
    customer: str | None,
    subtotal: int,
    discount: int = 0,
    tax: int = 0,
    included_tax: int = 0,
    balance: int = 0,
    credit_notes: int = 0,
    metadata: dict[str, str] | None = None,
    currency: str = "usd",
    payment_intent: str | None = None,
    **changed: Any,
) -> Object:
    """A paid invoice. `balance` is what the customer's credit at Stripe paid of it; `credit_notes` came before the
    payment."""
    total = subtotal - discount + tax
    due = total - balance - credit_notes
    paid_by = {
        "object": "invoice_payment",
        "amount_paid": due,
        "payment": {"type": "payment_intent", "payment_intent": payment_intent},
        "status": "paid",
    }
    return {
        "id": invoice_id,
        "object": "invoice",
        "amount_due": due,
        "amount_overpaid": 0,
        "amount_paid": due,
        "amount_remaining": 0,
        "amount_shipping": 0,
        "created": CREATED,
        "currency": currency,
        "customer": customer,
        "discounts": ["di_1"] if discount else [],
        "ending_balance": 0,
        "lines": listing([]),
        "livemode": False,
        "metadata": metadata or {},
        "payments": listing([paid_by] if payment_intent else []),
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": credit_notes,
        "shipping_cost": None,
        "starting_balance": -balance,
        "status": "paid",
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal - included_tax,
        "total": total,
        "total_discount_amounts": [{"amount": discount, "discount": "di_1"}] if discount else [],
        "total_excluding_tax": total - tax - included_tax,
        "total_pretax_credit_amounts": [],
        "total_taxes": [
            {"amount": amount, "tax_behavior": behavior, "type": "tax_rate_details"}
            for amount, behavior in ((tax, "exclusive"), (included_tax, "inclusive"))
            if amount
        ],
    } | changed


def dispute(dispute_id: str, *, status: str, payment_intent: str | None = None, amount: int = 2_000) -> Object:
    return {
        "id": dispute_id,
        "object": "dispute",
        "amount": amount,
        "charge": "ch_1",
        "created": CREATED,
        "currency": "usd",
        "livemode": False,
        "metadata": {},
        "payment_intent": payment_intent,
        "reason": "fraudulent",
        "status": status,
    }


def listing(objects: list[Object], *, has_more: bool = False) -> Object:
    return {"object": "list", "data": objects, "has_more": has_more, "url": "/v1/things"}


def payment_method(method_id: str, customer: str | None) -> Object:
    return {
        "id": method_id,
        "object": "payment_method",
        "created": CREATED,
        "customer": customer,
        "livemode": False,
        "metadata": {},
        "type": "card",
    }


def event(
    kind: str, of: Object, event_id: str | None = None, *, livemode: bool = False, previous: Object | None = None
) -> Object:
    changed = {} if previous is None else {"previous_attributes": previous}
    return {
        "id": event_id or f"evt_{next(_numbers)}",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": CREATED,
        "data": {"object": of, **changed},
        "livemode": livemode,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }


def body(of: Object) -> str:
    return json.dumps(of, indent=2)


def signature(text: str, secret: str = SECRET, timestamp: int | None = None) -> str:
    """By the `stripe` package's own signer."""
    return str(WebhookSignature.generate_signature_header(text, secret, timestamp))
