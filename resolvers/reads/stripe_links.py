"""Stripe links: the page of Stripe's dashboard for the object that caused a row."""

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
    """Returns None for customers, who cannot open the dashboard, and if the row was not caused by a Stripe object."""
    path = _PATHS.get(row.ref_type or "")
    if principal.scope != KeyScope.OPERATOR or path is None or row.ref_id is None:
        return None
    # Test-mode ids that contain `_test_` have their own pages. Other ids are found by the live page.
    mode = "/test" if "_test_" in row.ref_id else ""
    return f"{_DASHBOARD}{mode}/{path}/{quote(row.ref_id, safe='')}"
