"""Where an operator looks at what caused a row: the pages of Stripe's dashboard, by kind of object."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from access.keys import KeyScope, Principal
from db.rows import TransactionRow
from ledger.kinds import RefType

_DASHBOARD: Final = "https://dashboard.stripe.com"
_PATHS: Final[dict[str, str]] = {
    RefType.STRIPE_CHECKOUT_SESSION: "checkout/sessions",
    RefType.STRIPE_PAYMENT_INTENT: "payments",
    RefType.STRIPE_REFUND: "refunds",
    RefType.STRIPE_INVOICE: "invoices",
}


def stripe_url(principal: Principal, row: TransactionRow) -> str | None:
    """None for customers, who have no way into the dashboard, and for what is no object of Stripe's."""
    path = _PATHS.get(row.ref_type or "")
    if principal.scope != KeyScope.OPERATOR or path is None or row.ref_id is None:
        return None
    # Ids of test mode that tell so have pages of their own; those that don't tell are found by the live page.
    mode = "/test" if "_test_" in row.ref_id else ""
    return f"{_DASHBOARD}{mode}/{path}/{quote(row.ref_id, safe='')}"
