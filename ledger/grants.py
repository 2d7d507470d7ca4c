"""Grants: the ledger rows of credit that is not paid by card."""

from __future__ import annotations

from ledger import descriptions
from ledger.commands import Entry, Ref
from ledger.errors import BadUserInput
from ledger.kinds import RefType, TransactionType
from ledger.texts import REF_ID


def bonus(amount_nanos: int, promotion: str, description: str | None = None) -> Entry:
    """Returns the row of promotional credit. Raises BadUserInput unless the amount is positive."""
    if amount_nanos <= 0:
        raise BadUserInput("the amount of a bonus must be positive")
    REF_ID.checked(promotion, "promotion")
    text = descriptions.bonus(promotion, amount_nanos) if description is None else description
    return Entry(TransactionType.BONUS, amount_nanos, text, Ref(RefType.PROMOTION, promotion))


def signup_bonus(amount_nanos: int) -> Entry:
    """Returns the row of a signup bonus. Raises BadUserInput unless the amount is positive."""
    if amount_nanos <= 0:
        raise BadUserInput("the signup bonus must be positive; omit it for no bonus")
    text = f"Signup bonus: {descriptions.dollars(amount_nanos)} of credit for a new account"
    return Entry(TransactionType.BONUS, amount_nanos, text, Ref(RefType.PROMOTION, "signup-bonus"))


def contract(name: str, cash_nanos: int, bonus_nanos: int | None, description: str | None = None) -> list[Entry]:
    """Returns the cash row of a signed contract and, if there is a bonus, its bonus row.

    A description applies to both rows. Raises BadUserInput unless both amounts are positive.
    """
    if cash_nanos <= 0:
        raise BadUserInput("the cash part of a contract must be positive")
    if bonus_nanos is not None and bonus_nanos <= 0:
        raise BadUserInput("the bonus part of a contract must be positive; omit it for no bonus")
    REF_ID.checked(name, "contract")
    ref = Ref(RefType.CONTRACT, name)
    cash_text, bonus_text = descriptions.contract(name, cash_nanos, bonus_nanos or 0)
    rows = [Entry(TransactionType.CONTRACT_GRANT, cash_nanos, cash_text if description is None else description, ref)]
    if bonus_nanos is not None:
        text = bonus_text if description is None else description
        rows.append(Entry(TransactionType.BONUS_GRANT, bonus_nanos, text, ref))
    return rows
