"""What the worker makes of events that wait."""

from __future__ import annotations

from datetime import timedelta

import pytest

from db.database import Database
from ledger.stripe.api import StripeApi
from tests.ledger.desk import usd
from tests.ledger.stripe.till import CUSTOMER, Posted, Till
from tests.stripe_objects import charge, refund, session
from tests.stripe_stand_in import StandIn

HOUR = timedelta(hours=1)


@pytest.fixture
def till(database: Database, api: StripeApi) -> Till:
    return Till(database, api)


async def test_charge_without_refunds_is_looked_up(till: Till, stand_in: StandIn) -> None:
    account_id = await till.customer()
    await till.tell("checkout.session.completed", session("cs_1", customer=CUSTOMER, payment_intent="pi_1"))
    of = charge("ch_1", customer=CUSTOMER, amount=2_000, refunded=800, payment_intent="pi_1")
    await till.tell("charge.refunded", of, "evt_c")
    stand_in.refunds = [
        refund(name, amount=amount, payment_intent="pi_1") for name, amount in (("re_1", 500), ("re_2", 300))
    ]
    assert await till.retries.run() == 0, "not before its time"
    stand_in.faults = ["503"]
    till.now += HOUR
    assert await till.retries.run() == 0
    till.now += HOUR
    assert await till.retries.run() == 1
    assert (await till.event_row("evt_c")).state == "applied"
    assert [row[:3] for row in (await till.posted(account_id))[1:]] == [
        ("refund", "5.00", "stripe_refund re_1"),
        ("refund", "3.00", "stripe_refund re_2"),
    ]


async def test_refund_of_a_payment_older_than_the_ledger_is_credited(till: Till, stand_in: StandIn) -> None:
    """Nothing says which account's it is but the charge's customer."""
    account_id = await till.customer()
    await till.tell("refund.created", refund("re_1", amount=500, charge="ch_old", payment_intent="pi_old"), "evt_r")
    stand_in.charges["ch_old"] = charge("ch_old", customer=CUSTOMER, amount=2_000, refunded=500)
    till.now += HOUR / 2
    assert await till.retries.run() == 0
    assert await till.rows(account_id) == []
    till.now += HOUR
    assert await till.retries.run() == 1
    assert await till.posted(account_id) == [
        Posted("refund", "5.00", "stripe_refund re_1", "Stripe refund re_1 of charge ch_old", None)
    ]


async def test_retries_back_off_and_never_end(till: Till) -> None:
    await till.tell("checkout.session.completed", session("cs_1", customer="cus_9"), "evt_9")
    waits = []
    for _ in range(12):
        row = await till.event_row("evt_9")
        assert row.retry_at is not None
        waits.append((row.retry_at - till.now) // timedelta(minutes=1))
        till.now = row.retry_at
        assert await till.retries.run() == 0
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360, 360]
    account_id = await till.account("1.00")
    assert await till.events.link(account_id, "cus_9") == 1
    assert (await till.rows(account_id))[-1].balance_after_nanos == usd("21.00")


async def test_event_without_payload_is_not_looked_up(till: Till) -> None:
    """Another worker may have applied it since it was found due."""
    await till.customer()
    await till.tell("checkout.session.completed", session("cs_1", customer=CUSTOMER), "evt_1")
    row = await till.event_row("evt_1")
    assert row.payload is None
    assert await till.retries._notice(row) is None
