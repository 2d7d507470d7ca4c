"""Addresses of receipts: pages of Stripe, and nothing that a browser could take for another place."""

from __future__ import annotations

import pytest

from ledger.stripe.receipts import is_receipt_address


@pytest.mark.parametrize(
    "address",
    [
        "https://pay.stripe.com/receipts/a?s=ap",
        "https://stripe.com/r",
        "https://a.b.stripe.com",
        "HTTPS://pay.stripe.com/",
    ],
)
def test_pages_of_stripe(address: str) -> None:
    assert is_receipt_address(address)


@pytest.mark.parametrize(
    "address",
    [
        *("http://pay.stripe.com/r", "javascript:alert(1)//stripe.com", "//pay.stripe.com/r", "", "stripe.com"),
        *("https://stripe.com.example/", "https://evilstripe.com/", "https://example.com/stripe.com"),
        *("https://stripe.com@example.com/", "https://user@pay.stripe.com/", "https://pay.stripe.com:8443/"),
        *("https://example.com\\.stripe.com/", "https://pay.stripe.com/a b", "https://pay.stripe.com/\n"),
        *("https://pay.ſtripe.com/", "https://[stripe.com/", "https://pay.stripe.com:x/", 'https://pay.stripe.com/"'),
        "https://pay.stripe.com/" + "x" * 2_000,
    ],
)
def test_everything_else(address: str) -> None:
    assert not is_receipt_address(address)
