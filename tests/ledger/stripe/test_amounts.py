"""What sessions and invoices are credited with: the guide's examples, and Stripe's arithmetic over line items."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.money import format_nanos
from ledger.stripe.amounts import Paid, bought_in_session, paid_by_invoice
from ledger.stripe.shapes import NANOS_PER_CENT, UnexpectedShape
from tests.stripe_objects import Object, invoice, listing, session, shipping_cost

_GUIDE: Final = (Path(__file__).parents[3] / "docs/stripe.md").read_text()
_EXAMPLE: Final = re.compile(r"^\| (session|invoice): ([^|]+) \| ([\d.]+) \| (yes|no) \|$", re.MULTILINE)
EXAMPLES: Final = _EXAMPLE.findall(_GUIDE)


_BY_HAND: Final = {"type": "payment_record"}


def _session(**amounts: Any) -> Object:
    return session("cs_1", customer="cus_1", **amounts)


def _invoice(**amounts: Any) -> Object:
    return invoice("in_1", customer="cus_1", payment_intent="pi_1", **amounts)


def _credited(kind: str, amounts: dict[str, int]) -> Paid:
    if kind == "session":
        return Paid(bought_in_session(_session(**amounts)), None)
    return paid_by_invoice(_invoice(**amounts))


@pytest.mark.parametrize(("kind", "told", "credited", "doubted"), EXAMPLES, ids=[" ".join(one[:2]) for one in EXAMPLES])
def test_guide_examples_are_correct(kind: str, told: str, credited: str, doubted: str) -> None:
    words = [one.rsplit(" ", 1) for one in told.split(", ")]
    amounts = {name.replace(" ", "_"): round(float(dollars) * 100) for name, dollars in words}
    paid = _credited(kind, amounts)
    assert (format_nanos(paid.nanos), "yes" if paid.doubt else "no") == (credited, doubted)


def test_guide_has_examples_of_sessions_and_invoices() -> None:
    assert {one[0] for one in EXAMPLES} == {"session", "invoice"}
    assert len(EXAMPLES) >= 10


@dataclass(frozen=True)
class Line:
    """Cents. A discount is a share of the amount; tax is a share of what is left."""

    amount: int
    percent_off: int
    tax_percent: int
    is_included: bool

    @property
    def discount(self) -> int:
        return self.amount * self.percent_off // 100

    @property
    def tax(self) -> int:
        left = self.amount - self.discount
        if self.is_included:
            return left - round(left * 100 / (100 + self.tax_percent))
        return round(left * self.tax_percent / 100)

    @property
    def bought(self) -> int:
        """Before tax, after the discount."""
        return self.amount - self.discount - (self.tax if self.is_included else 0)


LINES: Final = st.lists(
    st.builds(
        Line,
        amount=st.integers(0, 10**8),
        percent_off=st.sampled_from((0, 0, 5, 25, 33, 100)),
        tax_percent=st.sampled_from((0, 7, 19, 20, 25)),
        is_included=st.booleans(),
    ),
    min_size=1,
    max_size=4,
)
SHIPPING: Final = st.tuples(st.integers(0, 5_000), st.sampled_from((0, 19)))


def _sums(lines: Sequence[Line]) -> dict[str, int]:
    return {
        "subtotal": sum(one.amount for one in lines),
        "discount": sum(one.discount for one in lines),
        "tax": sum(one.tax for one in lines if not one.is_included),
        "included_tax": sum(one.tax for one in lines if one.is_included),
    }


@given(lines=LINES, shipped=SHIPPING)
def test_session_is_credited_with_the_sum_of_its_lines(lines: list[Line], shipped: tuple[int, int]) -> None:
    sums = _sums(lines)
    net, shipping_tax = shipped[0], round(shipped[0] * shipped[1] / 100)
    total = sums["subtotal"] - sums["discount"] + sums["tax"] + net + shipping_tax
    paid = _session(
        **sums,
        amount_total=total,
        shipping_cost=shipping_cost(net, shipping_tax),
        total_details={
            "amount_discount": sums["discount"],
            "amount_shipping": net + shipping_tax,
            "amount_tax": sums["tax"] + sums["included_tax"] + shipping_tax,
        },
    )
    credited = bought_in_session(paid)
    assert credited == sum(one.bought for one in lines) * NANOS_PER_CENT
    assert credited <= total * NANOS_PER_CENT


@given(lines=LINES, share=st.integers(0, 100), notes=st.integers(0, 100), data=st.data())
def test_invoice_is_credited_with_the_paid_part_of_its_lines(
    lines: list[Line], share: int, notes: int, data: st.DataObject
) -> None:
    sums = _sums(lines)
    total = sums["subtotal"] - sums["discount"] + sums["tax"]
    credit_notes = total * notes // 200
    balance = (total - credit_notes) * share // 200
    by_hand = data.draw(st.booleans(), label="paid out of band")
    due = total - credit_notes - balance
    paid_by = {"amount_paid": 0, "paid_out_of_band": True, "payments": listing([])} if by_hand else {}
    paid = paid_by_invoice(_invoice(**sums, balance=balance, credit_notes=credit_notes, **paid_by))
    bought = sum(one.bought for one in lines)
    # What a credit note or a balance paid may have been tax or not: all of it is taken off what was bought.
    assert paid.nanos == max(bought - balance - credit_notes, 0) * NANOS_PER_CENT
    assert paid.nanos <= due * NANOS_PER_CENT
    is_certain = not balance and (not credit_notes or not sums["tax"] + sums["included_tax"])
    assert (paid.doubt is None) == is_certain


@given(lines=LINES, more=st.integers(1, 10**6))
def test_credit_never_exceeds_the_subtotal(lines: list[Line], more: int) -> None:
    """The total is larger than its parts explain."""
    sums = _sums(lines)
    allowed = sums["subtotal"] - sums["discount"]
    told = _session(**sums, amount_total=allowed + sums["tax"] + sums["included_tax"] + more)
    with pytest.raises(UnexpectedShape, match="are inconsistent"):
        bought_in_session(told)


@pytest.mark.parametrize(
    ("changed", "credited"),
    [
        # Older API versions.
        ({"total_excluding_tax": None, "total_taxes": None, "total_tax_amounts": [{"amount": 171_000}]}, "9000.00"),
        ({"total_excluding_tax": None, "total_taxes": None, "tax": 171_000}, "9000.00"),
        # A discount of one item: the subtotal is without it already.
        (
            {
                "subtotal": 900_000,
                "lines": listing([{"id": "il_1", "discounts": ["di_1"]}]),
            },
            "9000.00",
        ),
        # A debt of earlier invoices is collected with this one.
        ({"amount_due": 1_081_000, "amount_paid": 1_081_000, "starting_balance": 10_000}, "9000.00"),
        # Paid by bank transfer, as newer API versions list it.
        (
            {
                "amount_paid": 0,
                "payments": listing(
                    [{"status": "paid", "amount_paid": 1_071_000, "payment": {"type": "payment_record"}}]
                ),
            },
            "9000.00",
        ),
    ],
)
def test_invoices_of_other_api_versions_are_read(changed: Object, credited: str) -> None:
    paid = paid_by_invoice(_invoice(subtotal=1_000_000, discount=100_000, tax=171_000) | changed)
    assert (format_nanos(paid.nanos), paid.doubt) == (credited, None)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"total_excluding_tax": None, "total_taxes": None}, "does not state its tax"),
        ({"total_taxes": [{"amount": 1}]}, "are inconsistent"),
        ({"amount_paid": 0, "payments": listing([])}, "it does not state how the last 10710.00 of 10710.00 were paid"),
        ({"subtotal": 1}, "are inconsistent"),
    ],
)
def test_inconsistent_invoice_is_refused(changed: Object, said: str) -> None:
    with pytest.raises(UnexpectedShape, match=said):
        paid_by_invoice(_invoice(subtotal=1_000_000, discount=100_000, tax=171_000) | changed)


def test_overpayment_is_reported() -> None:
    paid = paid_by_invoice(_invoice(subtotal=1_000) | {"amount_overpaid": 500, "amount_paid": 1_500})
    assert (format_nanos(paid.nanos), "the customer paid 5.00 more" in (paid.doubt or "")) == ("10.00", True)


def test_amount_paid_off_stripe_counts_as_money() -> None:
    paid = paid_by_invoice(_invoice(subtotal=1_000_000) | {"amount_paid": 0, "amount_paid_off_stripe": 1_000_000})
    assert (format_nanos(paid.nanos), paid.doubt) == ("10000.00", None)
