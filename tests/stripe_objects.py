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
    tax: int = 0,
    currency: str = "usd",
    payment_status: str = "paid",
    payment_intent: str | None = None,
    **changed: Any,
) -> Object:
    return {
        "id": session_id,
        "object": "checkout.session",
        "amount_subtotal": subtotal,
        "amount_total": subtotal + tax,
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
        "status": "complete",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": tax},
        "url": None,
    } | changed


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
        "refunded": refunded == amount,
        "status": "succeeded",
    } | listed


def invoice(
    invoice_id: str,
    *,
    customer: str | None,
    subtotal: int,
    tax: int = 0,
    metadata: dict[str, str] | None = None,
    currency: str = "usd",
    payment_intent: str | None = None,
) -> Object:
    paid_by = {"object": "invoice_payment", "payment": {"type": "payment_intent", "payment_intent": payment_intent}}
    return {
        "id": invoice_id,
        "object": "invoice",
        "amount_paid": subtotal + tax,
        "created": CREATED,
        "currency": currency,
        "customer": customer,
        "livemode": False,
        "metadata": metadata or {},
        "payments": listing([paid_by] if payment_intent else []),
        "status": "paid",
        "subtotal": subtotal,
        "total": subtotal + tax,
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
