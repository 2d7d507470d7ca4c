"""What an event turned out to mean for the ledger, by which its state is set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Applied:
    account_id: int | None
    payment_intent: str | None = None
    """Of a payment, or refund, that was credited now: others may wait for it."""
    doubt: str | None = None
    """What a person must look at, though the rows are written."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Cannot be applied yet. It is tried again."""

    reason: str
    waits_for: str | None = None
    account_id: int | None = None
    is_harmless: bool = False
    """However long it waits, no credit is missing and none is wrong. Otherwise it needs a person after a day."""


@dataclass(frozen=True, slots=True)
class NeedsAttention:
    """Only a person can decide. It is kept, and shown to operators until one of them dismisses it."""

    reason: str
    account_id: int | None = None
    is_retried: bool = False
    """It is tried again all the same: the ledger's state, or a newer program, may come to allow it."""


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
