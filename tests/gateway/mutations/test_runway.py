"""Runway: what was spent by the time that it covers, and when the credit runs out if that goes on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from resolvers.reads.runway import Due, Plan, ends_after
from tests.gateway.mutations.office import Office
from tests.gateway.mutations.test_metering import request
from tests.ledger.desk import START

RUNWAY: Final = """
    runway {
        state endsAt available runningPerHour explanation rechargesBefore
        lastDay { from to cost perDay } lastWeek { from to cost perDay }
    }
"""


def _hour(hour: float) -> str:
    return f"{START + timedelta(hours=hour):%Y-%m-%dT%H:%M:%S.%fZ}"


async def _hold(office: Office, account: str, ref_type: str, ref_id: str, amount: str, start: int, end: int) -> None:
    period = {"periodStart": _hour(start), "periodEnd": _hour(end)}
    await office.call("openHold", accountId=account, refType=ref_type, refId=ref_id, amount=amount, **period)


async def _runway(office: Office, account: str) -> Any:
    return (await office.query(f"query ($id: ID!) {{ account(id: $id) {{ {RUNWAY} }} }}", id=account))["account"][
        "runway"
    ]


def _burn(start: float, end: float, cost: str, per_day: str) -> dict[str, str]:
    return {"from": _hour(start), "to": _hour(end), "cost": cost, "perDay": per_day}


async def test_runway_counts_cost_when_it_is_used_and_what_is_due_later(office: Office) -> None:
    account, empty = await office.account("224.00"), await office.account()
    nothing = await _runway(office, account)
    assert (nothing["state"], nothing["endsAt"], nothing["rechargesBefore"]) == ("NOTHING_SPENT", None, False)
    assert nothing["explanation"] == (
        "$224.00 is available. Nothing was spent in the last 7 days, and nothing runs that costs credit."
    )

    await _hold(office, account, "GPU_INSTANCE", "1", "72.00", 0, 72)
    await _hold(office, account, "GPU_INSTANCE", "2", "24.00", 0, 48)
    office.now = START + timedelta(hours=24)
    await office.call("recordUsage", accountId=account, requests=[request("a", cost="4.80")])
    office.now = START + timedelta(hours=36)
    await _hold(office, account, "INFERENCE_INSTANCE", "7", "12.00", 36, 60)
    office.now = START + timedelta(hours=40)
    await office.call("setVolume", accountId=account, refType="VOLUME", refId="v", gib=10, pricePerGibDay="0.24")
    office.now = START + timedelta(hours=48)
    settled = {"accountId": account, "refType": "GPU_INSTANCE"}
    await office.call("settleHold", **settled, refId="2", used="24.00", endedAt=_hour(48))

    # 0.1 an hour of API usage; 1.5 an hour of GPU instances, of which 24 is paid in advance; 12 from the 12th hour on
    # and 2.40 from the 24th hour on, every 24 hours: 28.80 is gone after 24 hours, and 81.60 after 48 hours. Of the
    # rest, 29.60, only 10.40 is left when the cycle of the 60th hour begins.
    found = await _runway(office, account)
    assert found == {
        "state": "ENDS",
        "endsAt": _hour(48 + 60),
        "available": "111.20",
        "runningPerHour": "1.60",
        "explanation": "$111.20 is available. The last 7 days cost $41.40 a day; what runs now costs $1.60 an hour. If"
        " this goes on, the credit lasts until about 5 November 2026, 12:00 UTC.",
        "rechargesBefore": False,
        "lastDay": _burn(24, 48, "46.80", "46.80"),
        "lastWeek": _burn(0, 48, "82.80", "41.40"),
    }

    both = f"query ($a: ID!, $b: ID!) {{ a: account(id: $a) {{ {RUNWAY} }} b: account(id: $b) {{ {RUNWAY} }} }}"
    answer = await office.query(both, a=account, b=empty)
    assert answer["a"]["runway"] == found
    assert answer["b"]["runway"]["state"] == "NO_CREDIT"
    assert answer["b"]["runway"]["explanation"] == "There is no available credit: $0.00."


async def test_runway_counts_the_part_of_earlier_holds_within_the_window(office: Office) -> None:
    """All of the holds are settled. The refund within the window is of a hold from before it."""
    account = await office.account("2000.00")
    await _hold(office, account, "GPU_INSTANCE", "1", "720.00", 0, 720)
    await _hold(office, account, "GPU_INSTANCE", "2", "24.00", 0, 48)
    await _hold(office, account, "GPU_INSTANCE", "3", "10.00", 0, 10)
    for hour, ref_id, used in ((10, "3", "10.00"), (48, "2", "24.00"), (60, "1", "60.00")):
        office.now = START + timedelta(hours=hour)
        await office.call("settleHold", accountId=account, refType="GPU_INSTANCE", refId=ref_id, used=used)
    office.now = START + timedelta(hours=192.5)
    found = await _runway(office, account)
    assert found["lastWeek"] == _burn(24, 192.5, "48.00", "6.836795252")
    assert found["lastDay"] == _burn(168, 192.5, "0.00", "0.00")
    assert found["runningPerHour"] == "0.00"
    assert found["state"] == "ENDS"
    # 1906.00 at 48.00 in 168.5 hours.
    assert found["endsAt"] == _hour(192.5 + 1906 * 168.5 / 48)

    office.now = START + timedelta(days=300)
    assert (await _runway(office, account))["state"] == "NOTHING_SPENT"
    await office.call("recordUsage", accountId=account, requests=[request("a", cost="0.000001")])
    lasting = await _runway(office, account)
    assert (lasting["state"], lasting["endsAt"]) == ("LASTS", None)
    assert lasting["explanation"].endswith("If this goes on, the credit lasts for more than ten years.")


async def test_late_settlements_count_in_the_time_that_the_instances_ran(office: Office) -> None:
    """One was stopped early and one ran longer, both before the window, but they are settled in it."""
    account = await office.account("2000.00")
    await _hold(office, account, "GPU_INSTANCE", "1", "720.00", 0, 720)
    await _hold(office, account, "GPU_INSTANCE", "2", "24.00", 0, 24)
    office.now = START + timedelta(hours=200)
    for ref_id, used, hour in (("1", "20.00", 20), ("2", "30.00", 30)):
        settled = {"refId": ref_id, "used": used, "endedAt": _hour(hour)}
        await office.call("settleHold", accountId=account, refType="GPU_INSTANCE", **settled)
    found = await _runway(office, account)
    assert (found["state"], found["lastWeek"], found["lastDay"]) == (
        "NOTHING_SPENT",
        _burn(32, 200, "0.00", "0.00"),
        _burn(176, 200, "0.00", "0.00"),
    )


def test_end_is_the_first_microsecond_without_credit() -> None:
    hour = 3_600_000_000
    for paced, gpu, prepaid, due, available in (
        (7, 0, 0, [], 1_000),
        (0, 13, 500, [Due(0, 3), Due(5 * hour, 1)], 9_999),
        (1, 1, 1, [Due(30 * hour, 10**9)], 10**9),
        (0, 0, 0, [Due(hour, 5)], 5),
    ):
        plan = Plan(168 * hour, paced, gpu, prepaid, due)
        after = ends_after(available, plan) // timedelta(microseconds=1)
        assert plan.drawn_nanos(after) >= available > plan.drawn_nanos(after - 1)
