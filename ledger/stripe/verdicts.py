"""Verdicts: what an event meant to the ledger. The verdict determines the event's state."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Applied:
    account_id: int | None
    payment_intent: str | None = None
    """The payment, or refunded payment, that was just credited. Other events may wait for it."""
    doubt: str | None = None
    """The reason why a person must check the event, although its rows are written."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The event cannot be applied yet. It is tried again."""

    reason: str
    waits_for: str | None = None
    account_id: int | None = None
    is_harmless: bool = False
    """Nothing is missing or wrong in the ledger while this event waits. Other waiting events need a person after a
    day."""


@dataclass(frozen=True, slots=True)
class NeedsAttention:
    """Only a person can decide. The event is kept, and shown to operators until one of them dismisses it."""

    reason: str
    account_id: int | None = None
    is_retried: bool = False
    """The event is tried again anyway: a later state of the ledger, or a newer program, may allow it."""


@dataclass(frozen=True, slots=True)
class Ignored:
    reason: str


Verdict = Applied | Waiting | NeedsAttention | Ignored


def unknown_customer(customer: str | None, *, is_harmless: bool = False) -> Waiting | NeedsAttention:
    if customer is not None:
        reason = f"the customer {customer} is not linked to an account: link the customer"
        return Waiting(reason, customer, is_harmless=is_harmless)
    reason = "the object names no customer"
    return Waiting(reason, is_harmless=True) if is_harmless else NeedsAttention(reason)
