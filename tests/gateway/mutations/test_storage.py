"""What services tell of volumes and instances through the API, and what the worker makes of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from access.keys import KeyScope, NewKey, ServiceOperation
from ledger.cycles import CycleSettlement
from ledger.storage import StorageBilling
from tests.gateway.mutations.office import Office, brief, number_of
from tests.gateway.mutations.test_lifecycles import INFERENCE

DAY = timedelta(days=1)
VOLUME = {"refType": "VOLUME", "refId": "v-1"}
SIZE = {"gib": 100, "pricePerGibDay": "0.0033"}
RATE = {"refId": "i-7", "gpus": 1, "pricePerGpuHour": "2.00"}


async def test_a_volume_s_life(office: Office) -> None:
    account = await office.account("10.00")
    billing = StorageBilling(office.services.database, office.services.ledger, clock=office.clock)
    given = {"accountId": account, **VOLUME, **SIZE, "idempotencyKey": "made"}
    made = await office.call("setVolume", **given)
    assert made == {"transactions": [], "balance": "10.00", "replayed": False}
    office.now += DAY / 2
    await office.call("setVolume", accountId=account, **VOLUME, gib=200, pricePerGibDay="0.0033")
    # Sent again, the first call takes nothing back.
    assert (await office.call("setVolume", **given))["replayed"] is True
    office.now += DAY
    await office.call("deleteVolume", accountId=account, **VOLUME)
    office.now += DAY
    assert await billing.run() == 2
    rows = await office.transactions(account)
    assert brief({"transactions": rows})[1:] == [
        ("STORAGE_BILLING", "-0.495", "9.505"),
        ("STORAGE_BILLING", "-0.33", "9.175"),
    ]
    assert {(row["refType"], row["refId"]) for row in rows[1:]} == {("VOLUME", "v-1")}


async def test_an_instance_s_cycles(office: Office) -> None:
    account = await office.account("100.00")
    start = office.now.isoformat()
    end = (office.now + DAY).isoformat()
    await office.call("openHold", accountId=account, **INFERENCE, amount="48.00", periodStart=start, periodEnd=end)
    refused = await office.refusal("setInstanceRate", accountId=account, **(RATE | {"refId": "i-8"}))
    assert refused[0] == "NOT_FOUND"
    given = {"accountId": account, **RATE, "refId": INFERENCE["refId"]}
    assert (await office.call("setInstanceRate", **given))["toStop"] is False
    cycles = CycleSettlement(office.services.database, office.services.ledger, clock=office.clock)
    office.now += DAY
    assert await cycles.run() == 1
    await office.call("setInstanceRate", **given)
    office.now += DAY
    assert await cycles.run() == 1
    assert (await office.call("setInstanceRate", **given))["toStop"] is True
    rows = await office.transactions(account)
    assert [row["amount"] for row in rows][1:] == ["-48.00", "-48.00"]


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("name", "given", "code", "said"),
    [
        ("setVolume", {"gib": 0}, "BAD_USER_INPUT", "gib must be 1 to 1,000,000,000"),
        ("setVolume", {"gib": 2**31}, "BAD_USER_INPUT", "Int cannot represent"),
        ("setVolume", {"pricePerGibDay": "-1"}, "BAD_USER_INPUT", "pricePerGibDay must be 0.00 to"),
        ("setVolume", {"pricePerGibDay": 0.0033}, "BAD_USER_INPUT", "not float"),
        ("setVolume", {"refType": "GPU_INSTANCE"}, "BAD_USER_INPUT", "refType must be VOLUME or SHARED_FILESYSTEM"),
        ("setVolume", {"refId": ""}, "BAD_USER_INPUT", "refId must not be blank"),
        ("setVolume", {"since": "2027-01-01T00:00:00Z"}, "BAD_USER_INPUT", "since must be at most 5 minutes"),
        ("setVolume", {"since": "2025-01-01T00:00:00Z"}, "BAD_USER_INPUT", "since must not be more than 366 days ago"),
        ("setVolume", {"accountId": "acct_77"}, "NOT_FOUND", "there is no account acct_77"),
        ("deleteVolume", {"gib": None, "pricePerGibDay": None}, "NOT_FOUND", "there is no Cloud drive #v-1"),
    ],
)
async def test_bad_input(office: Office, name: str, given: dict[str, Any], code: str, said: str) -> None:
    account = await office.account("10.00")
    whole = {"accountId": account, **VOLUME, **SIZE} | given
    if name == "deleteVolume":
        whole = {key: value for key, value in whole.items() if key not in SIZE}
    refused = await office.refusal(name, **whole)
    assert (refused[0], said in refused[1]) == (code, True), refused


async def test_a_service_key_s_lists_hold(office: Office) -> None:
    mine, other = await office.account("10.00"), await office.account("10.00")
    narrow = NewKey(
        KeyScope.SERVICE,
        "tests",
        account_ids=(number_of(mine),),
        operations=(ServiceOperation.SET_VOLUME.value,),
    )
    key = await office.key(narrow)
    assert (await office.refusal("setVolume", key, accountId=other, **VOLUME, **SIZE))[0] == "NOT_FOUND"
    assert (await office.refusal("deleteVolume", key, accountId=mine, **VOLUME))[0] == "FORBIDDEN"
    assert (await office.refusal("setInstanceRate", key, accountId=mine, **RATE))[0] == "FORBIDDEN"
    await office.call("setVolume", key, accountId=mine, **VOLUME, **SIZE)
    manager = await office.manager(mine)
    assert (await office.refusal("setVolume", manager, accountId=mine, **VOLUME, **SIZE))[0] == "FORBIDDEN"


async def test_a_volume_that_could_never_be_billed_is_refused(office: Office) -> None:
    account = await office.account("100.00")
    start, end = office.now.isoformat(), (office.now + DAY).isoformat()
    hold = {"accountId": account, **INFERENCE, "amount": "48.00", "periodStart": start}
    late = "the period must end at most 1,096 days from now"
    for year in ("2199-01-01T00:00:00Z", "2029-11-01T00:00:00.000001Z"):
        assert await office.refusal("openHold", **hold, periodEnd=year) == ("BAD_USER_INPUT", late)
    await office.call("openHold", **hold, periodEnd=end)
    volume = {"accountId": account, **VOLUME, "gib": 10**9}
    code, message = await office.refusal("setVolume", **volume, pricePerGibDay="10000")
    assert code == "BAD_USER_INPUT"
    assert message == "gib times pricePerGibDay must be at most 1000000.00 a day, not 10000000000000.00"
    await office.call("setVolume", **volume, pricePerGibDay="0.001")
    rate = {"accountId": account, "refId": INFERENCE["refId"], "gpus": 10**9}
    _, message = await office.refusal("setInstanceRate", **rate, pricePerGpuHour="1")
    assert message == "gpus times pricePerGpuHour must be at most 1000000.00 a day, not 24000000000.00"
