"""Credit that nobody pays for by card: what each kind of it looks like in the ledger."""

from __future__ import annotations

from ledger import descriptions
from ledger.errors import BadUserInput
from ledger.kinds import RefType, TransactionType
from ledger.moves import Entry, Ref


def bonus(amount_nanos: int, promotion: str, description: str | None = None) -> Entry:
    """Promotional credit. Raises BadUserInput unless it is positive."""
    if amount_nanos <= 0:
        raise BadUserInput("the amount of a bonus must be positive")
    text = descriptions.bonus(promotion, amount_nanos) if description is None else description
    return Entry(TransactionType.BONUS, amount_nanos, text, Ref(RefType.PROMOTION, promotion))
