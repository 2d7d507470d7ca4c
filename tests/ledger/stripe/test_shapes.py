"""Our objects have the shapes of Stripe's own examples, and those are read too, where they are at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ledger.stripe.notices import ChargeRefunded, ContractPaid, Nothing, Recharge, Refund, TopUp, notice_of, read_event
from tests.stripe_objects import Object, body, charge, event, invoice, payment, refund, session

EXAMPLES = Path(os.environ.get("STRIPE_EXAMPLES", ""))
"""A file of Stripe's, fixtures3.json of its OpenAPI description."""

OURS = {
    "checkout.session": session("cs_1", customer="cus_1"),
    "payment_intent": payment("pi_1", customer="cus_1", failure="No."),
    "refund": refund("re_1", amount=5),
    "charge": charge("ch_1", customer="cus_1", amount=9, refunded=5, refunds=[refund("re_1", amount=5)]),
    "invoice": invoice("in_1", customer="cus_1", subtotal=5, payment_intent="pi_1"),
    "event": event("refund.created", refund("re_1", amount=5)),
}


@pytest.fixture(scope="module")
def examples() -> dict[str, Any]:
    if not EXAMPLES.is_file():
        pytest.skip("Stripe's examples are not here")
    found: dict[str, Any] = json.loads(EXAMPLES.read_text())["resources"]
    return found


@pytest.mark.parametrize("name", OURS)
def test_stand_in_objects_have_the_fields_of_stripe_objects(examples: dict[str, Any], name: str) -> None:
    example = examples[name]
    # An invoice's payments stand in it only where they are asked for, and in its events.
    assert OURS[name].keys() - example.keys() <= {"payments"}
    for key, value in OURS[name].items():
        if value is not None and example.get(key) is not None:
            assert type(value) is type(example[key]), key


def _read(kind: str, of: Object) -> object:
    return notice_of(read_event(body(event(kind, of))))


def test_stripe_examples_are_read(examples: dict[str, Any]) -> None:
    paid = {"amount_subtotal": 2_000, "amount_total": 2_160, "currency": "usd", "customer": "cus_1"}
    of = examples["checkout.session"]
    assert _read("checkout.session.completed", of) == Nothing("the session's payment_status is unpaid, not paid")
    top_up = TopUp(of["id"], "cus_1", of["payment_intent"], 20_000_000_000)
    assert _read("checkout.session.completed", of | paid | {"payment_status": "paid"}) == top_up
    of = examples["payment_intent"] | {"amount_received": 1_099}
    assert isinstance(_read("payment_intent.succeeded", of), Nothing)
    tagged = of | {"metadata": {"billing_gateway_recharge": "recharge_1"}}
    assert _read("payment_intent.succeeded", tagged) == Recharge(of["id"], "recharge_1", 10_990_000_000, of["customer"])
    of = examples["refund"]
    assert _read("refund.created", of) == Refund(of["id"], of["charge"], None, None, 1_000_000_000)
    of = examples["charge"] | {"amount_refunded": 100}
    of["refunds"] = of["refunds"] | {"data": [examples["refund"]]}
    told = Refund(examples["refund"]["id"], of["id"], None, None, 1_000_000_000)
    assert _read("charge.refunded", of) == ChargeRefunded(of["id"], None, None, 1_000_000_000, (told,))
    of = examples["invoice"] | {"metadata": {"contract": "C-1", "bonus": "5"}, "subtotal": 1_000, "total": 1_000}
    contract = ContractPaid(of["id"], of["customer"], None, "C-1", 10_000_000_000, 5_000_000_000)
    assert _read("invoice.paid", of) == contract
    assert _read("plan.created", examples["event"]["data"]["object"]) == Nothing("events of this type have no effect")
