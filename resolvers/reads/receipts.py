"""Receipts of payments, by the rows that credited them."""

from __future__ import annotations

from typing import Final

from access.keys import KeyScope
from db.rows import TransactionRow
from ledger.kinds import RefType, TransactionType
from resolvers.context import QueryContext

_PAID: Final = frozenset(
    {TransactionType.TOPUP, TransactionType.AUTO_RECHARGE, TransactionType.CONTRACT_GRANT, TransactionType.BONUS_GRANT}
)
_REFS: Final = frozenset({RefType.STRIPE_CHECKOUT_SESSION, RefType.STRIPE_PAYMENT_INTENT, RefType.STRIPE_INVOICE})

READ_FOR_RECEIPT: Final = ("account_id", "type", "ref_type", "ref_id")
"""Columns of the row that are needed to find its receipt."""


async def receipt_url(context: QueryContext, row: TransactionRow) -> str | None:
    """Returns None for service keys: the page shows the customer's address and the digits of the card."""
    if context.principal.scope == KeyScope.SERVICE or row.type not in _PAID or row.ref_type not in _REFS:
        return None
    assert row.ref_id is not None, "rows that Stripe caused name their object"
    payment = await context.loaders.payment_of_credit.load((row.account_id, row.ref_id))
    return None if payment is None else await context.loaders.receipt.load((row.account_id, payment))
