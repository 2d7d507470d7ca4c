"""Daily storage billing: exactly one row for each volume and UTC day, whenever the worker comes."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from db import volumes
from db.database import Database
from db.volumes import VolumeRow
from ledger.commands import Ref
from ledger.errors import BadUserInput, Conflict, NotFound
from ledger.kinds import RefType
from ledger.money import format_nanos
from ledger.posting import Ledger
from ledger.storage import StorageBilling
from ledger.volumes import VolumeRate, delete_volume, set_volume
from tests.doses import dose
from tests.ledger.desk import DAY, HOUR, OPERATOR, START, VOLUME, Desk, correction, usd
from tests.ledger.recompute import differences
from tests.ledger.test_posting_properties import EXAMPLES

PRICE = usd("0.0033")
FILES = Ref(RefType.SHARED_FILESYSTEM, "fs-1")


class Depot(Desk):
    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.billing = StorageBilling(database, self.ledger, clock=lambda: self.now)

    async def put(
        self, account_id: int, gib: int = 100, price: int = PRICE, since: datetime | None = None, ref: Ref = VOLUME
    ) -> VolumeRow:
        async with self.database.write() as connection:
            return await set_volume(connection, account_id, VolumeRate(ref, gib, price, since), self.now)

    async def delete(self, account_id: int, at: datetime | None = None, ref: Ref = VOLUME) -> VolumeRow:
        async with self.database.write() as connection:
            return await delete_volume(connection, account_id, ref, at, self.now)

    async def billed(self, account_id: int, ref: Ref = VOLUME) -> list[tuple[str, str]]:
        """(day, amount) of the volume's rows."""
        rows = [row for row in await self.rows(account_id) if row.ref_id == ref.id]
        assert {(row.type, row.source, row.actor) for row in rows} <= {
            ("storage_billing", "storage_worker", "storage-worker")
        }
        return [(f"{row.period_start:%m-%d}", format_nanos(row.amount_nanos)) for row in rows]


@pytest.fixture
def depot(database: Database) -> Depot:
    return Depot(database)


async def test_day_is_billed_once_after_it_ended(depot: Depot) -> None:
    account_id = await depot.account("1.00")
    await depot.put(account_id)
    depot.now += DAY - timedelta(microseconds=1)
    assert await depot.billing.run() == 0
    depot.now += timedelta(microseconds=1)
    assert await depot.billing.run() == 1
    assert await depot.billing.run() == 0
    assert await depot.billed(account_id) == [("11-01", "-0.33")]
    row = (await depot.rows(account_id))[-1]
    assert row.description == "Cloud drive #v-1 on 2026-11-01: 100 GiB × $0.0033 a day"
    assert (row.period_start, row.period_end, row.ref_type) == (START, START + DAY, "volume")
    assert (await depot.charge(account_id, VOLUME)).state == "open"
    assert await differences(depot.database) == []


async def test_late_days_are_billed_at_their_own_sizes(depot: Depot) -> None:
    """The worker was down for days, and the balance goes below zero: what was used is owed."""
    account_id = await depot.account("1.00")
    await depot.put(account_id)
    depot.now += 36 * HOUR
    await depot.put(account_id, 200)
    depot.now += 2 * DAY
    await depot.put(account_id, 300, ref=FILES)
    assert await depot.billing.run() == 3
    assert await depot.billed(account_id) == [("11-01", "-0.33"), ("11-02", "-0.495"), ("11-03", "-0.66")]
    assert (await depot.rows(account_id))[-2].description == (
        "Cloud drive #v-1 on 2026-11-02: 100 GiB × $0.0033 a day (12h of it), then 200 GiB × $0.0033 a day (12h of it)"
    )
    depot.now += DAY
    assert await depot.billing.run() == 2
    assert await depot.billed(account_id, FILES) == [("11-04", "-0.495")]
    assert (await depot.rows(account_id))[-1].balance_after_nanos < 0
    assert await differences(depot.database) == []


async def test_storage_is_billed_after_a_month_of_downtime(depot: Depot) -> None:
    account_id = await depot.account("100.00")
    await depot.put(account_id)
    depot.now += 75 * DAY + HOUR
    assert await depot.billing.run() == 75
    assert len(set(await depot.billed(account_id))) == 75
    assert await differences(depot.database) == []


async def test_part_of_a_day_is_billed_proportionally(depot: Depot) -> None:
    account_id = await depot.account("1.00")
    depot.now = START + 18 * HOUR
    await depot.put(account_id)
    depot.now = START + DAY + 6 * HOUR
    await depot.delete(account_id)
    depot.now = START + 3 * DAY
    assert await depot.billing.run() == 2
    assert await depot.billed(account_id) == [("11-01", "-0.0825"), ("11-02", "-0.0825")]
    charge = await depot.charge(account_id, VOLUME)
    assert (charge.state, charge.closed_at) == ("settled", depot.now)
    assert await volumes.due(depot.database, (START + 30 * DAY).date(), 10) == []
    assert await differences(depot.database) == []


async def test_free_volume_is_billed_without_a_row(depot: Depot) -> None:
    account_id = await depot.account("1.00")
    await depot.put(account_id, price=0)
    blink = Ref(RefType.VOLUME, "v-2")
    await depot.put(account_id, 1, 1, ref=blink)
    depot.now += timedelta(microseconds=5)
    await depot.delete(account_id, ref=blink)
    at_once = Ref(RefType.VOLUME, "v-3")
    await depot.put(account_id, ref=at_once)
    await depot.delete(account_id, ref=at_once)
    depot.now = START + 2 * DAY
    assert await depot.billing.run() == 0
    assert len(await volumes.due(depot.database, depot.now.date(), 10)) == 1
    assert await volumes.due(depot.database, (START + DAY).date(), 10) == []


async def test_deletion_at_midnight_bills_no_further_day(depot: Depot) -> None:
    account_id = await depot.account("1.00")
    await depot.put(account_id)
    depot.now = START + DAY + HOUR
    assert await depot.billing.run() == 1
    await depot.delete(account_id, START + DAY)
    depot.now = START + 3 * DAY
    assert await depot.billing.run() == 0
    assert (await depot.charge(account_id, VOLUME)).state == "settled"


async def test_billed_days_cannot_be_changed(depot: Depot) -> None:
    account_id = await depot.account("1.00")
    await depot.put(account_id)
    depot.now = START + DAY + HOUR
    await depot.billing.run()
    with pytest.raises(Conflict, match="already billed: the first day not yet billed is 2026-11-02"):
        await depot.put(account_id, 200, since=START + 23 * HOUR)
    with pytest.raises(Conflict, match="already billed"):
        await depot.delete(account_id, START + 23 * HOUR)
    await depot.put(account_id, 200, since=START + DAY)
    with pytest.raises(BadUserInput, match="since must be at most"):
        await depot.put(account_id, 300, since=depot.now + HOUR)
    await depot.put(account_id, 300)
    with pytest.raises(Conflict, match="before the newest change"):
        await depot.put(account_id, 400, since=START + DAY)
    with pytest.raises(Conflict, match="before the newest change"):
        await depot.delete(account_id, START + DAY)
    await depot.delete(account_id)
    with pytest.raises(Conflict, match="Cloud drive #v-1 was already deleted"):
        await depot.delete(account_id)
    with pytest.raises(Conflict, match="its id cannot be used again"):
        await depot.put(account_id)
    depot.now = START + 2 * DAY
    await depot.billing.run()
    assert await depot.billed(account_id) == [("11-01", "-0.33"), ("11-02", "-0.0275")]


async def test_invalid_volumes_are_refused(depot: Depot) -> None:
    account_id = await depot.account("1.00")
    await depot.writes_nothing(depot.put(77), NotFound, "no such account")
    await depot.writes_nothing(depot.put(account_id, 0), BadUserInput, "gib must be 1 to")
    await depot.writes_nothing(depot.put(account_id, ref=Ref(RefType.GPU_INSTANCE, "1")), BadUserInput, "refType")
    await depot.writes_nothing(depot.put(account_id, since=START - 400 * DAY), BadUserInput, "more than 366 days ago")
    await depot.writes_nothing(depot.delete(account_id), NotFound, "there is no Cloud drive #v-1")


async def test_refused_volume_does_not_stop_other_volumes(depot: Depot) -> None:
    broke = await depot.account()
    other = await depot.account("1.00")
    await depot.post(broke, correction(-usd("9223372036.00")), writer=OPERATOR)
    await depot.put(broke, 10**6, usd("1.00"))
    await depot.put(other)
    depot.now += DAY
    with capture_logs() as logs:
        assert await depot.billing.run() == 1
        assert await depot.billed(broke) == []
        assert await depot.billed(other) == [("11-01", "-0.33")]
        assert await depot.billing.run() == 0
    assert [(one["event"], one["account"]) for one in logs] == [("volume not billed", f"acct_{broke}")]
    await depot.post(broke, correction(usd("9223372036.00")), writer=OPERATOR)
    assert await depot.billing.run() == 1
    assert await depot.billed(broke) == [("11-01", "-1000000.00")]


async def test_two_workers_bill_each_day_once(depot: Depot) -> None:
    account_ids = [await depot.account("5.00") for _ in range(3)]
    for account_id in account_ids:
        for number in range(4):
            await depot.put(account_id, ref=Ref(RefType.VOLUME, f"v-{number}"))
    depot.now += 3 * DAY
    others = [StorageBilling(depot.database, Ledger(depot.database), clock=lambda: depot.now) for _ in range(3)]
    counts = await asyncio.gather(*(one.run() for one in others))
    assert sum(counts) == 3 * 4 * 3
    assert await differences(depot.database) == []


@settings(EXAMPLES, max_examples=dose(7, 40))
@given(seed=st.integers(0, 2**32))
async def test_each_day_is_billed_once_at_any_worker_schedule(database: Database, seed: int) -> None:
    """Volumes come, change and go; the worker comes now and then, by two at times. Every microsecond of every volume
    is billed once, at the rate that was in force then."""
    random, depot = Random(seed), Depot(database)
    account_id = await depot.account()
    expected: dict[tuple[str, str], int] = {}
    living: dict[str, int] = {}
    names = iter(f"v-{number}" for number in range(100))
    while depot.now < START + 9 * DAY:
        step = timedelta(seconds=random.randint(1, 12 * 3_600))
        moment = depot.now
        while moment < depot.now + step:
            midnight = moment.replace(hour=0, minute=0, second=0) + DAY
            until = min(depot.now + step, midnight)
            for name, gib in living.items():
                key = name, f"{moment:%m-%d}"
                expected[key] = expected.get(key, 0) + gib * ((until - moment) // timedelta(seconds=1))
            moment = until
        depot.now += step
        match random.choice(["new", "new", "resize", "delete", "bill", "bill", "bill twice"]):
            case "new":
                name = next(names)
                living[name] = random.randint(1, 500)
                await depot.put(account_id, living[name], 86_400, ref=Ref(RefType.VOLUME, name))
            case "resize" if living:
                name = random.choice(sorted(living))
                living[name] = random.randint(1, 500)
                await depot.put(account_id, living[name], 86_400, ref=Ref(RefType.VOLUME, name))
            case "delete" if living:
                name = random.choice(sorted(living))
                del living[name]
                await depot.delete(account_id, ref=Ref(RefType.VOLUME, name))
            case "bill":
                await depot.billing.run()
            case "bill twice":
                await asyncio.gather(depot.billing.run(), depot.billing.run())
    depot.now = START + 9 * DAY
    await depot.billing.run()
    rows = [row for row in await depot.rows(account_id) if row.period_start and row.period_start < depot.now]
    billed = {(row.ref_id, f"{row.period_start:%m-%d}"): -row.amount_nanos for row in rows}
    assert len(billed) == len(rows)
    # A GiB costs a nano-dollar a second, so nothing is rounded.
    assert billed == {key: nanos for key, nanos in expected.items() if key[1] < "11-10" and nanos}
    assert await differences(database) == []


async def test_day_with_many_sizes_lists_the_first_three(depot: Depot) -> None:
    account_id = await depot.account("5.00")
    for hours in (0, 6, 12, 18, 21):
        depot.now = START + hours * HOUR
        await depot.put(account_id, 100 + hours)
    depot.now = START + DAY
    assert await depot.billing.run() == 1
    assert (await depot.rows(account_id))[-1].description.endswith(
        ", then 106 GiB × $0.0033 a day (6h of it), then 112 GiB × $0.0033 a day (6h of it), then and 2 more sizes"
    )
