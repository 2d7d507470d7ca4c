"""Stripe API: the calls that the ledger makes. Answers are read by `shapes`, as events are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from stripe import HTTPClient, StripeClient, StripeObject

from ledger.errors import BadUserInput
from ledger.ids import account_id_text
from ledger.stripe.failures import StripeUnavailable, translated
from ledger.stripe.notices import CURRENCY, RECHARGE, FailedRefund, Refund, read_refund
from ledger.stripe.shapes import (
    NANOS_PER_CENT,
    Object,
    UnexpectedShape,
    id_of,
    listed,
    moment_of,
    object_of,
    optional_text,
    text_of,
)

ACCOUNT: Final = "billing_gateway_account"
"""Metadata of the customers and sessions that the gateway creates."""


@dataclass(frozen=True, slots=True)
class CheckoutSession:
    id: str
    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class NewSession:
    account_id: int
    customer: str
    amount_nanos: int
    success_url: str
    cancel_url: str


@dataclass(frozen=True, slots=True)
class NewPayment:
    attempt: str
    account_id: int
    customer: str
    payment_method: str
    amount_nanos: int


@dataclass(frozen=True, slots=True)
class Cards:
    """The payment methods that a customer has saved."""

    payment_method: str | None
    """The payment method to charge while the owner is away; None if nothing is saved."""
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class Payment:
    id: str
    status: Literal["paid", "running", "failed"]
    failure: str | None


def _read(answer: StripeObject) -> Object:
    found: Mapping[str, Any] = answer.to_dict()
    return found


def _payment(of: Object) -> Payment:
    status = optional_text(of, "status")
    if status == "succeeded":
        return Payment(text_of(of, "id"), "paid", None)
    if status == "processing":
        return Payment(text_of(of, "id"), "running", None)
    error = object_of(of, "last_payment_error")
    return Payment(text_of(of, "id"), "failed", optional_text(error, "message") or f"the payment is {status}")


class StripeApi:
    """Calls Stripe. Raises the errors in `failures`."""

    def __init__(self, client: StripeClient, http: HTTPClient) -> None:
        self._client = client.v1
        self._http = http

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    async def create_customer(self, account_id: int, name: str, key: str) -> str:
        with translated():
            answer = await self._client.customers.create_async(
                {"name": name, "metadata": {ACCOUNT: account_id_text(account_id)}}, {"idempotency_key": key}
            )
        with _as_unavailable():
            return text_of(_read(answer), "id")

    async def create_session(self, new: NewSession, key: str) -> CheckoutSession:
        metadata = {ACCOUNT: account_id_text(new.account_id)}
        with translated():
            answer = await self._client.checkout.sessions.create_async(
                {
                    "mode": "payment",
                    "customer": new.customer,
                    "client_reference_id": account_id_text(new.account_id),
                    "line_items": [
                        {
                            "quantity": 1,
                            "price_data": {
                                "currency": CURRENCY,
                                "unit_amount": new.amount_nanos // NANOS_PER_CENT,
                                "product_data": {"name": "Credit"},
                            },
                        }
                    ],
                    "success_url": new.success_url,
                    "cancel_url": new.cancel_url,
                    "metadata": metadata,
                    # Save the card, so that auto-recharge can charge it.
                    "payment_intent_data": {"setup_future_usage": "off_session", "metadata": metadata},
                    # The ledger is in dollars, so payment in other currencies is disabled.
                    "adaptive_pricing": {"enabled": False},
                },
                {"idempotency_key": key},
            )
        found = _read(answer)
        with _as_unavailable():
            return CheckoutSession(text_of(found, "id"), text_of(found, "url"), moment_of(found, "expires_at"))

    async def create_portal_session(self, customer: str, return_url: str, key: str) -> str:
        """Returns the address of a session of the billing portal."""
        with translated():
            answer = await self._client.billing_portal.sessions.create_async(
                {"customer": customer, "return_url": return_url}, {"idempotency_key": key}
            )
        with _as_unavailable():
            return text_of(_read(answer), "url")

    async def cards_of(self, customer: str) -> Cards:
        """Returns the customer's default payment method, or else the one saved last."""
        with translated():
            found = _read(await self._client.customers.retrieve_async(customer))
            if found.get("deleted") is True:
                return Cards(None, is_deleted=True)
            default = id_of(object_of(found, "invoice_settings"), "default_payment_method")
            if default is not None:
                return Cards(default)
            saved = _read(await self._client.customers.payment_methods.list_async(customer, {"limit": 1}))
        return Cards(_first_id(saved))

    async def pay(self, new: NewPayment) -> Payment:
        """Charges a saved card while its owner is away. The attempt's id is the idempotency key."""
        with translated():
            answer = await self._client.payment_intents.create_async(
                {
                    "amount": new.amount_nanos // NANOS_PER_CENT,
                    "currency": CURRENCY,
                    "customer": new.customer,
                    "payment_method": new.payment_method,
                    "off_session": True,
                    "confirm": True,
                    "description": "Auto-recharge",
                    "metadata": {RECHARGE: new.attempt, ACCOUNT: account_id_text(new.account_id)},
                },
                {"idempotency_key": new.attempt},
            )
        return _payment(_read(answer))

    async def payment(self, payment_intent: str) -> Payment:
        with translated():
            return _payment(_read(await self._client.payment_intents.retrieve_async(payment_intent)))

    async def payment_of_attempt(self, customer: str, attempt: str, since: datetime) -> Payment | None:
        """Returns the payment that this attempt requested, or None if Stripe never received the request."""
        after: str | None = None
        with translated():
            while True:
                page = _read(
                    await self._client.payment_intents.list_async(
                        {
                            "customer": customer,
                            "created": {"gte": int(since.timestamp()) - 60},
                            "limit": 100,
                            **({"starting_after": after} if after else {}),
                        }
                    )
                )
                for one in listed(page):
                    if optional_text(object_of(one, "metadata"), RECHARGE) == attempt:
                        return _payment(one)
                    after = id_of(one, "id")
                if page.get("has_more") is not True or after is None:
                    return None

    async def customer_of_charge(self, charge: str) -> str | None:
        with translated():
            return id_of(_read(await self._client.charges.retrieve_async(charge)), "customer")

    async def refunds_of_charge(self, charge: str) -> list[Refund | FailedRefund]:
        """Returns the ended refunds, successful or not. Lists the newest hundred, more than any charge has.

        Raises UnexpectedShape.
        """
        with translated():
            page = _read(await self._client.refunds.list_async({"charge": charge, "limit": 100}))
        found = [read_refund(one) for one in listed(page)]
        return [one for one in found if isinstance(one, Refund | FailedRefund)]


def _first_id(page: Object) -> str | None:
    return next((id_of(one, "id") for one in listed(page)), None)


@contextlib.contextmanager
def _as_unavailable() -> Iterator[None]:
    """Treats an unreadable answer as no answer."""
    try:
        yield
    except (UnexpectedShape, BadUserInput) as error:
        raise StripeUnavailable(str(error)) from error
