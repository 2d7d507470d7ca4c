"""The lives of charges, as the contract's tables tell them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ledger.commands import Command, Entry, OpenHold, Period, Ref
from ledger.errors import InsufficientBalance
from ledger.kinds import RefType, TransactionType
from tests.ledger.desk import (
    DAY,
    GPU,
    HOUR,
    INFERENCE,
    SERVICE,
    START,
    STORAGE,
    VOLUME,
    Desk,
    api_usage,
    brief,
    open_hold,
    renew,
    settle,
    usd,
)
from tests.ledger.recompute import differences


async def _start_gpu(desk: Desk) -> int:
    """An instance for an hour at $2.49, on an account of $10."""
    account_id = await desk.account("10.00")
    hold = OpenHold(GPU, usd("2.49"), "GPU Instance #132: hold per-GPU × 1 GPU × 1h", Period(START, START + HOUR))
    (row,) = (await desk.post(account_id, hold)).transactions
    assert row.description == "GPU Instance #132: hold per-GPU × 1 GPU × 1h"
    assert brief([row]) == [("gpu_usage", "-2.49", "7.51")]
    assert (await desk.charge(account_id))[3:] == ("open", usd("2.49"), 0, 0, 0, 1, 2, 2, 2, START, None, None, None)
    assert await desk.months(account_id) == {"2026-11": ("2.49", "0.00", "2.49")}
    return account_id


@pytest.mark.parametrize(
    ("used", "rows", "figures"),
    [
        ("0.83", [("refund", "1.66", "9.17")], ("2.49", "1.66", "0.00")),
        ("0.00", [("refund", "2.49", "10.00")], ("2.49", "2.49", "0.00")),
        ("2.49", [], ("2.49", "0.00", "0.00")),
        ("2.905", [("gpu_usage", "-0.415", "7.095")], ("2.905", "0.00", "0.00")),
    ],
    ids=["stopped early", "never ran", "to its end", "over"],
)
async def test_lifecycle_of_a_gpu_instance(
    desk: Desk, used: str, rows: list[tuple[str, str, str]], figures: tuple[str, str, str]
) -> None:
    account_id = await _start_gpu(desk)
    desk.now = START + HOUR
    outcome = await desk.post(account_id, settle(usd(used)))
    assert brief(outcome.transactions) == rows
    assert {(row.ref_type, row.ref_id, row.source) for row in outcome.transactions} <= {
        ("gpu_instance", "132", "metering")
    }
    charge, (hold,) = await desk.charge(account_id), await desk.holds(account_id)
    net = charge.held_nanos - charge.refunded_nanos + charge.overage_nanos
    assert (charge.state, charge.closed_at, net) == ("settled", desk.now, usd(used))
    assert charge.last_seq == 2 + len(rows)
    assert (hold.state, hold.used_nanos, hold.settled_at) == ("settled", usd(used), desk.now)
    assert hold.settled_seq == (3 if rows else None)
    assert await desk.months(account_id) == {"2026-11": figures}
    assert await differences(desk.database) == []


async def test_lifecycle_of_an_inference_instance_over_three_cycles(desk: Desk) -> None:
    account_id = await desk.account("100.00")
    told = []

    def tell(rows: list[tuple[str, str, str]]) -> None:
        told.append(rows)

    tell(brief((await desk.post(account_id, open_hold(usd("24.00"), INFERENCE))).transactions))
    desk.now = START + DAY
    first = await desk.post(account_id, renew(usd("20.00"), usd("24.00"), 1))
    tell(brief(first.transactions))
    desk.now = START + 2 * DAY
    tell(brief((await desk.post(account_id, renew(usd("25.00"), usd("24.00"), 2))).transactions))
    desk.now = START + 2 * DAY + 6 * HOUR
    last = await desk.post(account_id, settle(usd("6.00"), INFERENCE, desk.now))
    tell(brief(last.transactions))
    assert told == [
        [("gpu_usage", "-24.00", "76.00")],
        [("gpu_usage", "-24.00", "52.00"), ("refund", "4.00", "56.00")],
        [("gpu_usage", "-24.00", "32.00"), ("gpu_usage", "-1.00", "31.00")],
        [("refund", "18.00", "49.00")],
    ]
    held, returned = first.transactions
    assert (held.period_start, held.period_end) == (START + DAY, START + 2 * DAY)
    assert (returned.period_start, returned.period_end) == (START, START + DAY)
    assert (last.transactions[0].period_start, last.transactions[0].period_end) == (START + 2 * DAY, desk.now)
    assert (await desk.charge(account_id, INFERENCE))[3:] == (
        *("settled", usd("72.00"), usd("22.00"), usd("1.00"), 0),
        *(3, 5, 2, 7, START, desk.now, None, None),
    )
    assert [
        (hold.cycle, hold.hold_seq, hold.settled_seq, hold.used_nanos)
        for hold in await desk.holds(account_id, INFERENCE)
    ] == [(1, 2, 4, usd("20.00")), (2, 3, 6, usd("25.00")), (3, 5, 7, usd("6.00"))]
    assert (first.to_stop, last.to_stop) == (False, False)
    assert await desk.months(account_id) == {"2026-11": ("73.00", "22.00", "0.00")}
    assert await differences(desk.database) == []


async def test_whole_lifecycle_in_one_call(desk: Desk) -> None:
    account_id = await desk.account("100.00")
    life: list[Command] = [open_hold(10, INFERENCE), renew(9, 10, 1), renew(11, 10, 2), settle(8, INFERENCE)]
    outcome = await desk.post(account_id, *life, key="life")
    assert [row.amount_nanos for row in outcome.transactions] == [-10, -10, 1, -10, -1, 2]
    assert [(hold.state, hold.used_nanos) for hold in await desk.holds(account_id, INFERENCE)] == [
        ("settled", 9),
        ("settled", 11),
        ("settled", 8),
    ]
    assert (await desk.post(account_id, *life, key="life")).transactions == outcome.transactions
    assert await differences(desk.database) == []


async def test_even_cycle_writes_only_the_next_hold(desk: Desk) -> None:
    account_id = await desk.account("50.00")
    await desk.post(account_id, open_hold(usd("24.00"), INFERENCE))
    outcome = await desk.post(account_id, renew(usd("24.00"), usd("24.00"), 1))
    assert brief(outcome.transactions) == [("gpu_usage", "-24.00", "2.00")]
    assert [hold.state for hold in await desk.holds(account_id, INFERENCE)] == ["settled", "open"]
    assert await desk.months(account_id) == {"2026-11": ("48.00", "0.00", "24.00")}
    assert await differences(desk.database) == []


@pytest.mark.parametrize(
    ("used", "rows", "balance"),
    [
        ("23.999999999", [("refund", "0.000000001", "22.000000001")], "22.000000001"),
        ("24.00", [], "22.00"),
        ("30.00", [("gpu_usage", "-6.00", "16.00")], "16.00"),
    ],
)
async def test_unpaid_renewal_writes_no_hold(
    desk: Desk, used: str, rows: list[tuple[str, str, str]], balance: str
) -> None:
    account_id = await desk.account("46.00")
    await desk.post(account_id, open_hold(usd("24.00"), INFERENCE))
    desk.now = START + DAY
    outcome = await desk.post(account_id, renew(usd(used), usd("24.00"), 1))
    assert (brief(outcome.transactions), outcome.balance_nanos, outcome.to_stop) == (rows, usd(balance), True)
    charge = await desk.charge(account_id, INFERENCE)
    assert (charge.state, charge.cycles, charge.closed_at) == ("settled", 1, desk.now)
    assert (await desk.months(account_id))["2026-11"][2] == "0.00"
    assert await differences(desk.database) == []


async def test_renewal_is_decided_after_settling_the_ended_cycle(desk: Desk) -> None:
    """The next hold is written first, and may take the balance below zero until the refund that follows it."""
    account_id = await desk.account("24.00")
    await desk.post(account_id, open_hold(usd("24.00"), INFERENCE))
    outcome = await desk.post(account_id, renew(usd("4.00"), usd("20.00"), 1))
    assert brief(outcome.transactions) == [("gpu_usage", "-20.00", "-20.00"), ("refund", "20.00", "0.00")]
    assert not outcome.to_stop
    stopped = await desk.post(account_id, renew(usd("0.00"), usd("20.000000001"), 2))
    assert (brief(stopped.transactions), stopped.to_stop) == ([("refund", "20.00", "20.00")], True)
    assert await differences(desk.database) == []


async def test_held_in_open_charges_follows_the_month_of_the_hold(desk: Desk) -> None:
    account_id = await desk.account("1000.00")
    evening, morning = datetime(2026, 11, 30, 23, tzinfo=UTC), datetime(2026, 12, 1, 1, tzinfo=UTC)
    desk.now = evening
    await desk.post(account_id, open_hold(usd("10.00")), open_hold(usd("24.00"), INFERENCE))
    assert await desk.months(account_id) == {"2026-11": ("34.00", "0.00", "34.00")}
    desk.now = morning
    await desk.post(account_id, renew(usd("20.00"), usd("24.00"), 1))
    assert await desk.months(account_id) == {
        "2026-11": ("34.00", "0.00", "10.00"),
        "2026-12": ("24.00", "4.00", "24.00"),
    }
    await desk.post(account_id, settle(usd("1.00")))
    assert await desk.months(account_id) == {
        "2026-11": ("34.00", "0.00", "0.00"),
        "2026-12": ("24.00", "13.00", "24.00"),
    }
    desk.now = datetime(2027, 1, 1, tzinfo=UTC)
    await desk.post(account_id, settle(usd("30.00"), INFERENCE))
    assert await desk.months(account_id) == {
        "2026-11": ("34.00", "0.00", "0.00"),
        "2026-12": ("24.00", "13.00", "0.00"),
        "2027-01": ("6.00", "0.00", "0.00"),
    }
    assert await differences(desk.database) == []


async def test_refund_of_last_months_hold_makes_the_month_negative(desk: Desk) -> None:
    account_id = await desk.account("100.00")
    await desk.post(account_id, open_hold(usd("50.00")))
    desk.now = START + 30 * DAY
    await desk.post(account_id, settle(usd("10.00")))
    assert await desk.months(account_id) == {"2026-11": ("50.00", "0.00", "0.00"), "2026-12": ("0.00", "40.00", "0.00")}


async def test_resources_of_one_account_are_billed_separately(desk: Desk) -> None:
    account_id = await desk.account("100.00")
    same_id = Ref(RefType.INFERENCE_INSTANCE, GPU.id)
    storage = Entry(TransactionType.STORAGE_BILLING, usd("-0.10"), "Cloud drive, 1 November", ref=VOLUME)
    await desk.post(account_id, open_hold(usd("1.00")), open_hold(usd("2.00"), same_id), api_usage(usd("0.01")))
    await desk.post(account_id, storage, writer=STORAGE)
    await desk.post(account_id, settle(usd("0.50")), writer=SERVICE)
    charges = {charge[1:3]: charge[3:8] for charge in (await desk.tables()).charges}
    assert charges == {
        ("gpu_instance", "132"): ("settled", usd("1.00"), usd("0.50"), 0, 0),
        ("inference_instance", "132"): ("open", usd("2.00"), 0, 0, 0),
        ("volume", "v-1"): ("open", 0, 0, 0, usd("0.10")),
    }
    with pytest.raises(InsufficientBalance):
        await desk.post(account_id, open_hold(usd("100.00"), Ref(RefType.GPU_INSTANCE, "133")))
    assert await desk.months(account_id) == {"2026-11": ("3.11", "0.50", "2.00")}
    assert await differences(desk.database) == []
