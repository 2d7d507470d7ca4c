"""Receipts: the page at Stripe that shows the customer what was paid. Its address comes with the charge's event."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from ledger.texts import ADDRESS

_HOST: Final = "stripe.com"


def is_receipt_address(address: str) -> bool:
    """Returns whether the address is of an https page of Stripe, without anything that browsers may read otherwise."""
    if len(address) > ADDRESS.longest or not address.isascii() or not address.isprintable():
        return False
    if set(address) & set(' \\"<>`'):
        return False
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    is_stripe = host == _HOST or host.endswith(f".{_HOST}")
    return parts.scheme == "https" and is_stripe and port is None and "@" not in parts.netloc
