"""Notices: what an event means to the ledger, read from the event only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from ledger.errors import BadUserInput
from ledger.money import parse_nanos
from ledger.stripe.amounts import bought_in_session, paid_by_invoice
from ledger.stripe.receipts import is_receipt_address
from ledger.stripe.shapes import (
    Object,
    UnexpectedShape,
    id_of,
    listed,
    moment_of,
    nanos_of,
    object_of,
    optional_text,
    read_object,
    text_of,
)
from ledger.texts import REF_ID, STRIPE_ID

CURRENCY: Final = "usd"

RECHARGE: Final = "billing_gateway_recharge"
"""Metadata of auto-recharge payments: the attempt's id."""
CONTRACT: Final = "contract"
"""Metadata of a contract's invoice: the contract's name."""
BONUS: Final = "bonus"
"""Metadata of a contract's invoice: the bonus in dollars."""


@dataclass(frozen=True, slots=True)
class Event:
    id: str
    type: str
    created_at: datetime
    livemode: bool
    object: Object
    previous: Object = field(default_factory=dict)
    """Changed fields of the object with their previous values."""


@dataclass(frozen=True, slots=True)
class TopUp:
    session: str
    customer: str | None
    payment_intent: str | None
    amount_nanos: int


@dataclass(frozen=True, slots=True)
class UnpaidSession:
    """The customer finished Checkout. The money has not arrived yet, or none was due."""

    session: str
    reason: str
    customer: str | None = None


@dataclass(frozen=True, slots=True)
class Recharge:
    payment_intent: str
    attempt: str
    amount_nanos: int
    customer: str | None
    customer_elsewhere: int | None = None
    """The customer's account, if it is on another shard than the attempt."""


@dataclass(frozen=True, slots=True)
class RechargeFailed:
    payment_intent: str
    attempt: str
    failure: str


@dataclass(frozen=True, slots=True)
class Refund:
    id: str
    charge: str | None
    payment_intent: str | None
    customer: str | None
    amount_nanos: int


@dataclass(frozen=True, slots=True)
class FailedRefund:
    """A refund that failed for good. Stripe does not try it again, but creates another refund."""

    id: str
    payment_intent: str | None
    amount_nanos: int
    is_canceled: bool

    @property
    def outcome(self) -> str:
        return "was canceled" if self.is_canceled else "failed"


@dataclass(frozen=True, slots=True)
class ChargeRefunded:
    """A charge and its refunds so far. Newer API versions give the refunded amount, but not the refunds."""

    charge: str
    payment_intent: str | None
    customer: str | None
    refunded_nanos: int
    refunds: tuple[Refund, ...]
    failed_refunds: tuple[FailedRefund, ...] = ()
    nobody_to_ask: bool = False
    """Stripe cannot be asked for the refunds."""

    @property
    def names_less_than_all(self) -> bool:
        named = [one.amount_nanos for one in self.refunds] + [one.amount_nanos for one in self.failed_refunds]
        return sum(named) < self.refunded_nanos

    def with_refunds(self, found: Iterable[Refund | FailedRefund]) -> ChargeRefunded:
        refunds: list[Refund] = []
        failed: list[FailedRefund] = []
        for one in found:
            if isinstance(one, Refund):
                refunds.append(one)
            else:
                failed.append(one)
        return replace(self, refunds=tuple(refunds), failed_refunds=tuple(failed))


@dataclass(frozen=True, slots=True)
class ContractPaid:
    invoice: str
    customer: str | None
    payment_intent: str | None
    contract: str
    cash_nanos: int
    bonus_nanos: int
    doubt: str | None = None
    """Why more credit may be due than was credited."""


@dataclass(frozen=True, slots=True)
class Concern:
    """Money moved in a way that the ledger does not follow by itself. A person must decide."""

    reason: str
    customer: str | None = None
    payment_intent: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """Stripe's receipt of a payment."""

    payment_intent: str
    customer: str
    url: str


class CustomerChange(StrEnum):
    CARD_SAVED = "card_saved"
    CARD_REMOVED = "card_removed"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class CustomerChanged:
    customer: str
    change: CustomerChange


@dataclass(frozen=True, slots=True)
class Nothing:
    """The event is recorded and acknowledged, without further effect."""

    reason: str


Notice = (
    TopUp
    | UnpaidSession
    | Recharge
    | RechargeFailed
    | Refund
    | FailedRefund
    | ChargeRefunded
    | ContractPaid
    | CustomerChanged
    | Receipt
    | Concern
    | Nothing
)


def read_event(body: str | bytes) -> Event:
    """Reads an event. Raises BadUserInput if the body is not a Stripe event."""
    found = read_object(body)
    event_id, kind = id_of(found, "id"), id_of(found, "type")
    data = object_of(found, "data")
    of = object_of(data, "object")
    if found.get("object") != "event" or event_id is None or kind is None or not of:
        raise BadUserInput(
            f"the body must be a Stripe event, with an id and a type of at most {STRIPE_ID.longest} characters"
        )
    previous = object_of(data, "previous_attributes")
    return Event(event_id, kind, moment_of(found, "created"), found.get("livemode") is True, of, previous)


def notice_of(event: Event) -> Notice:
    """Returns the notice of an event. Raises UnexpectedShape."""
    read = _READERS.get(event.type)
    if read is not None:
        return read(event.object)
    if event.type == _DETACHED:
        return _detached(event)
    if event.type.startswith("charge.dispute."):
        return Nothing(
            "the dispute is still open: answer it in the Stripe dashboard. Only a closed dispute has an effect"
        )
    return Nothing("events of this type have no effect")


def _foreign(of: Object) -> Concern | None:
    currency = optional_text(of, "currency")
    if currency is None or currency.lower() == CURRENCY:
        return None
    reason = f"the currency is {currency[:10]}, not {CURRENCY}: the payment is never credited"
    return Concern(reason, id_of(of, "customer"), id_of(of, "payment_intent"))


def _short(value: object) -> str:
    return str(value)[:40]


_UNPAID: Final = frozenset({"unpaid", "no_payment_required"})


def _session(of: Object) -> Notice:
    if of.get("mode") != "payment":
        return Nothing(f"the session's mode is {_short(of.get('mode'))}, not payment")
    status = of.get("payment_status")
    if status in _UNPAID:
        reason = f"the session's payment_status is {status}, not paid"
        return UnpaidSession(text_of(of, "id"), reason, id_of(of, "customer"))
    if status != "paid":
        msg = f"unknown payment_status of the session: {_short(status)}"
        raise UnexpectedShape(msg)
    foreign = _foreign(of)
    if foreign:
        return foreign
    amount = bought_in_session(of)
    if amount == 0:
        return Nothing("nothing was paid, or only tax and shipping")
    return TopUp(text_of(of, "id"), id_of(of, "customer"), id_of(of, "payment_intent"), amount)


def _paid(of: Object) -> Notice:
    attempt = optional_text(object_of(of, "metadata"), RECHARGE)
    if attempt is None:
        return Nothing("the payment is not an auto-recharge; a Checkout payment is credited by its session")
    amount = nanos_of(of, "amount_received")
    return _foreign(of) or Recharge(text_of(of, "id"), attempt, amount, id_of(of, "customer"))


def _failed(of: Object) -> Notice:
    attempt = optional_text(object_of(of, "metadata"), RECHARGE)
    if attempt is None:
        return Nothing("the payment is not an auto-recharge")
    error = object_of(of, "last_payment_error")
    failure = optional_text(error, "message") or f"the payment is {_short(of.get('status'))}"
    return RechargeFailed(text_of(of, "id"), attempt, failure)


_UNDER_WAY: Final = frozenset({"pending", "requires_action"})
_NOT_DONE: Final = frozenset({"failed", "canceled"})


def read_refund(of: Object) -> Refund | FailedRefund | Concern | Nothing:
    """Reads a refund. Raises UnexpectedShape."""
    status = of.get("status")
    if status in _UNDER_WAY:
        return Nothing(f"the refund's status is {status}, not succeeded")
    if status in _NOT_DONE:
        return _failed_refund(of)
    if status != "succeeded":
        msg = f"unknown status of the refund: {_short(status)}"
        raise UnexpectedShape(msg)
    return _foreign(of) or Refund(
        text_of(of, "id"),
        id_of(of, "charge"),
        id_of(of, "payment_intent"),
        id_of(of, "customer"),
        nanos_of(of, "amount"),
    )


def _refund(of: Object) -> Notice:
    return read_refund(of)


def _failed_refund(of: Object) -> FailedRefund:
    is_canceled = of.get("status") == "canceled"
    return FailedRefund(text_of(of, "id"), id_of(of, "payment_intent"), nanos_of(of, "amount"), is_canceled)


def _charge_refunded(of: Object) -> Notice:
    if _foreign(of):
        return Nothing("the currency is not the ledger's: the events of the refunds themselves are applied instead")
    charge, payment, customer = text_of(of, "id"), id_of(of, "payment_intent"), id_of(of, "customer")
    known = {"charge": charge, "payment_intent": payment, "customer": customer}
    read = [read_refund({**one, **known}) for one in listed(object_of(of, "refunds"))]
    told = ChargeRefunded(charge, payment, customer, nanos_of(of, "amount_refunded"), ())
    return told.with_refunds(one for one in read if isinstance(one, Refund | FailedRefund))


def _charged(of: Object) -> Notice:
    url, payment, customer = optional_text(of, "receipt_url"), id_of(of, "payment_intent"), id_of(of, "customer")
    if url is None or payment is None or customer is None:
        return Nothing("the charge has no receipt of a customer's payment")
    if not is_receipt_address(url):
        return Nothing("the address of the receipt is not an https address of stripe.com")
    return Receipt(payment, customer, url)


_SETTLED_DISPUTES: Final = frozenset({"won", "warning_closed", "prevented", "charge_refunded"})


def _dispute(of: Object) -> Notice:
    dispute, status = text_of(of, "id"), of.get("status")
    if status in _SETTLED_DISPUTES:
        return Nothing(f"the dispute was closed as {status}: the credit stays")
    if status != "lost":
        msg = f"the dispute was closed with an unknown status: {_short(status)}"
        raise UnexpectedShape(msg)
    reason = f"the dispute {dispute} was lost: the payment was returned, but its credit is still in the ledger"
    return Concern(reason, payment_intent=id_of(of, "payment_intent"))


def _payment_of_invoice(of: Object) -> str | None:
    """Returns the invoice's payment. Newer API versions list the payments, older ones name one."""
    for one in listed(object_of(of, "payments")):
        found = id_of(object_of(one, "payment"), "payment_intent")
        if found:
            return found
    return id_of(of, "payment_intent")


def _invoice(of: Object) -> Notice:
    metadata = object_of(of, "metadata")
    contract = optional_text(metadata, CONTRACT)
    if contract is None:
        return Nothing(f"the invoice does not name a contract: its metadata has no {CONTRACT!r}")
    foreign = _foreign(of)
    if foreign:
        return foreign
    REF_ID.checked(contract, f"the metadata's {CONTRACT}")
    paid = paid_by_invoice(of)
    given = optional_text(metadata, BONUS)
    bonus = parse_nanos(given, f"the metadata's {BONUS}") if given else 0
    if bonus < 0:
        raise BadUserInput("the amounts that a contract grants must not be negative")
    customer = id_of(of, "customer")
    if not paid.nanos and not bonus:
        return Concern(paid.doubt, customer) if paid.doubt else Nothing("nothing was paid")
    return ContractPaid(
        text_of(of, "id"), customer, _payment_of_invoice(of), contract, paid.nanos, bonus, doubt=paid.doubt
    )


def _changed(customer: str | None, change: CustomerChange) -> Notice:
    return Nothing("the object has no customer") if customer is None else CustomerChanged(customer, change)


def _attached(of: Object) -> Notice:
    return _changed(id_of(of, "customer"), CustomerChange.CARD_SAVED)


def _detached(event: Event) -> Notice:
    """Reads a detached payment method. Its customer is only in the previous values."""
    return _changed(id_of(event.previous, "customer"), CustomerChange.CARD_REMOVED)


def _customer_deleted(of: Object) -> Notice:
    return _changed(id_of(of, "id"), CustomerChange.DELETED)


_DETACHED: Final = "payment_method.detached"

_READERS: Final[Mapping[str, Callable[[Object], Notice]]] = {
    "checkout.session.completed": _session,
    "checkout.session.async_payment_succeeded": _session,
    "payment_intent.succeeded": _paid,
    "payment_intent.payment_failed": _failed,
    "payment_intent.canceled": _failed,
    "charge.succeeded": _charged,
    "charge.refunded": _charge_refunded,
    "charge.dispute.closed": _dispute,
    "charge.refund.updated": _refund,
    "refund.created": _refund,
    "refund.updated": _refund,
    "refund.failed": _failed_refund,
    "invoice.paid": _invoice,
    "payment_method.attached": _attached,
    "customer.deleted": _customer_deleted,
}

EVENT_TYPES: Final = tuple(sorted([*_READERS, _DETACHED]))
"""Event types that the webhook endpoint must receive."""
