"""The worker ends what ends by the clock, row by row as the tables of a lifecycle have it."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from db.database import Database
from db.instances import InstanceRow
from ledger.commands import OpenHold, Ref
from ledger.cycles import CycleSettlement, HoldExpiry
from ledger.errors import BadUserInput, Conflict, NotFound
from ledger.instances import InstanceRate, set_rate
from ledger.kinds import RefType
from ledger.money import MAX_NANOS, format_nanos
from ledger.posting import Ledger
from tests.ledger.desk import (
    DAY,
    HOUR,
    INFERENCE,
    OPERATOR,
    START,
    Desk,
    brief,
    correction,
    open_hold,
    period,
    renew,
    settle,
    usd,
)
from tests.ledger.recompute import differences

PRICE = usd("2.00")
GRACE = timedelta(hours=24)


class Hall(Desk):
    """Where inference instances run."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.cycles = CycleSettlement(database, self.ledger, clock=lambda: self.now)
        self.expiry = HoldExpiry(database, self.ledger, GRACE, lambda: self.now)

    async def rate(
        self, account_id: int, gpus: int = 1, since: datetime | None = None, ref_id: str = INFERENCE.id
    ) -> InstanceRow:
        async with self.database.write() as connection:
            return await set_rate(connection, account_id, InstanceRate(ref_id, gpus, PRICE, since), self.now)

    async def started(self, balance: str, gpus: int = 1, ref: Ref = INFERENCE) -> int:
        """An account with an instance of so many GPUs, whose first cycle is held."""
        account_id = await self.account(balance)
        await self.post(account_id, OpenHold(ref, gpus * PRICE * 24, None, period()))
        await self.rate(account_id, gpus, ref_id=ref.id)
        return account_id

    async def lines(self, account_id: int) -> list[tuple[str, str, str]]:
        """(type, amount, description) of each row but the first, which is the opening balance."""
        rows = (await self.rows(account_id))[1:]
        return [(row.type, format_nanos(row.amount_nanos), row.description) for row in rows]


@pytest.fixture
def hall(database: Database) -> Hall:
    return Hall(database)


async def test_cycles_follow_rate_changes(hall: Hall) -> None:
    account_id = await hall.started("500.00")
    hall.now = START + 12 * HOUR
    await hall.rate(account_id, 2)
    assert await hall.cycles.run() == 0
    hall.now = START + DAY
    assert await hall.cycles.run() == 1
    assert await hall.cycles.run() == 0
    hall.now = START + DAY + 18 * HOUR
    await hall.rate(account_id, 1)
    hall.now = START + 2 * DAY
    assert await hall.cycles.run() == 1
    hall.now = START + 2 * DAY + 6 * HOUR
    await hall.post(account_id, settle(usd("12.00"), INFERENCE, hall.now))
    title = "Inference Instance #i-7"
    assert await hall.lines(account_id) == [
        ("gpu_usage", "-48.00", f"{title}: hold for 24h, cycle 1"),
        ("gpu_usage", "-96.00", f"{title}: hold for 24h, cycle 2"),
        ("gpu_usage", "-24.00", f"{title}: cycle 1 used $72.00, $24.00 beyond the $48.00 held"),
        ("gpu_usage", "-48.00", f"{title}: hold for 24h, cycle 3"),
        ("refund", "12.00", f"{title}: cycle 2 used $84.00 of the $96.00 held"),
        ("refund", "36.00", "Inference Instance #i-7: stopped"),
    ]
    holds = await hall.holds(account_id, INFERENCE)
    assert [(one.period_start, one.period_end) for one in holds] == [
        (START + number * DAY, START + (number + 1) * DAY) for number in range(3)
    ]
    assert {row.actor for row in (await hall.rows(account_id))[2:6]} == {"cycle-worker"}
    assert await differences(hall.database) == []


async def test_even_cycle_writes_only_the_next_hold(hall: Hall) -> None:
    account_id = await hall.started("500.00")
    hall.now = START + DAY
    await hall.cycles.run()
    assert [amount for _, amount, _ in await hall.lines(account_id)] == ["-48.00", "-48.00"]


async def test_missed_cycles_are_billed_after_downtime(hall: Hall) -> None:
    account_id = await hall.started("500.00")
    hall.now = START + 3 * DAY + HOUR
    await hall.rate(account_id, 3, since=START + 2 * DAY)
    assert await hall.cycles.run() == 3
    assert [amount for _, amount, _ in await hall.lines(account_id)] == [
        "-48.00",
        "-48.00",
        # The third cycle began with three GPUs.
        "-144.00",
        "-144.00",
    ]
    assert await differences(hall.database) == []


async def test_unpaid_renewal_settles_the_cycle_and_requests_a_stop(hall: Hall) -> None:
    account_id = await hall.started("60.00")
    hall.now = START + DAY
    assert await hall.cycles.run() == 1
    assert brief(await hall.rows(account_id))[1:] == [("gpu_usage", "-48.00", "12.00")]
    assert (await hall.charge(account_id, INFERENCE)).state == "settled"
    hall.now += HOUR
    told = await hall.rate(account_id)
    assert told.to_stop_since == START + DAY
    assert await hall.cycles.run() == 0
    assert len(await hall.rows(account_id)) == 2


async def test_unreported_instance_expires_instead_of_renewing(hall: Hall) -> None:
    account_id = await hall.started("500.00")
    hall.now = START + DAY
    await hall.cycles.run()
    hall.now = START + 2 * DAY
    assert await hall.cycles.run() == 0
    assert await hall.expiry.run() == 0
    hall.now = START + 3 * DAY
    assert await hall.expiry.run() == 1
    assert await hall.expiry.run() == 0
    charge = await hall.charge(account_id, INFERENCE)
    assert (charge.state, charge.cycles, charge.refunded_nanos) == ("expired", 2, 0)
    assert await hall.months(account_id) == {"2026-11": ("96.00", "0.00", "0.00")}


async def test_worker_does_not_renew_instances_without_a_rate(hall: Hall) -> None:
    account_id = await hall.account("500.00")
    await hall.post(account_id, open_hold(usd("48.00"), INFERENCE))
    hall.now = START + DAY
    assert await hall.cycles.run() == 0
    await hall.post(account_id, renew(usd("40.00"), usd("48.00"), 1))
    assert await hall.cycles.run() == 0


async def test_abandoned_gpu_instance_expires_and_can_be_settled_late(hall: Hall) -> None:
    account_id = await hall.account("10.00")
    await hall.post(account_id, open_hold(usd("2.00")))
    hall.now = START + DAY + GRACE - timedelta(microseconds=1)
    assert await hall.expiry.run() == 0
    hall.now += timedelta(microseconds=1)
    assert await hall.expiry.run() == 1
    assert brief(await hall.rows(account_id))[1:] == [("gpu_usage", "-2.00", "8.00")]
    (hold,) = await hall.holds(account_id)
    assert (hold.state, hold.used_nanos, hold.expired_at) == ("expired", usd("2.00"), hall.now)
    await hall.post(account_id, settle(usd("0.50"), ended_at=START + HOUR))
    assert brief(await hall.rows(account_id))[2:] == [("refund", "1.50", "9.50")]
    assert await differences(hall.database) == []


async def test_rate_reports_count_until_the_delay_is_over(hall: Hall) -> None:
    account_id = await hall.started("500.00")
    late = CycleSettlement(hall.database, hall.ledger, timedelta(minutes=10), lambda: hall.now)
    hall.now = START + DAY + timedelta(minutes=9)
    assert await late.run() == 0
    await hall.rate(account_id, 2, since=START + 23 * HOUR)
    hall.now += timedelta(minutes=1)
    assert await late.run() == 1
    assert [amount for _, amount, _ in await hall.lines(account_id)] == ["-48.00", "-96.00", "-2.00"]
    with pytest.raises(Conflict, match="a cycle that is already settled"):
        await hall.rate(account_id, 1, since=START + 23 * HOUR)


async def test_invalid_rates_are_refused(hall: Hall) -> None:
    account_id = await hall.account("500.00")
    await hall.writes_nothing(hall.rate(account_id), NotFound, "Inference Instance #i-7 has no hold: open it first")
    await hall.post(account_id, open_hold(usd("48.00"), INFERENCE))
    await hall.writes_nothing(hall.rate(account_id, 0), BadUserInput, "gpus must be 1 to")
    await hall.writes_nothing(hall.rate(account_id, since=START - HOUR), Conflict, "or before the first")
    await hall.writes_nothing(hall.rate(account_id, since=START + HOUR), BadUserInput, "since must be at most")
    hall.now = START + HOUR
    await hall.rate(account_id)
    await hall.writes_nothing(hall.rate(account_id, 2, since=START), Conflict, "before the newest change")
    await hall.post(account_id, settle(usd("1.00"), INFERENCE))
    await hall.writes_nothing(hall.rate(account_id), Conflict, "is already settled")
    async with hall.database.write() as connection:
        with pytest.raises(BadUserInput, match="must be above zero"):
            await set_rate(connection, account_id, InstanceRate("i-7", 1, 0), hall.now)


async def test_two_workers_end_each_cycle_once(hall: Hall) -> None:
    account_ids = []
    for number in range(4):
        account_ids.append(await hall.started("500.00"))
        await hall.post(account_ids[-1], open_hold(usd("1.00"), Ref(RefType.GPU_INSTANCE, f"{number}")))
    hall.now = START + 3 * DAY
    for account_id in account_ids:
        await hall.rate(account_id)
    ledgers = [Ledger(hall.database, lambda: hall.now) for _ in range(3)]
    workers = [CycleSettlement(hall.database, one, clock=lambda: hall.now) for one in ledgers]
    expiries = [HoldExpiry(hall.database, one, GRACE, lambda: hall.now) for one in ledgers]
    counts = await asyncio.gather(*(one.run() for one in workers), *(one.run() for one in expiries))
    assert (sum(counts[:3]), sum(counts[3:])) == (12, 4)
    for number, account_id in enumerate(account_ids):
        assert len(await hall.holds(account_id, INFERENCE)) == 4
        assert (await hall.charge(account_id, Ref(RefType.GPU_INSTANCE, f"{number}"))).state == "expired"
    assert await differences(hall.database) == []


async def test_refused_cycle_does_not_stop_other_cycles(hall: Hall) -> None:
    full, other = await hall.started("100.00"), await hall.started("100.00")
    await hall.post(full, correction(MAX_NANOS - usd("52.00")), writer=OPERATOR)
    hall.now += DAY
    await hall.execute(f"UPDATE rates SET price_nanos = 0 WHERE account_id = {full}")
    with capture_logs() as logs:
        assert await hall.cycles.run() == 1
    assert [(one["account"], one["log_level"]) for one in logs] == [(f"acct_{full}", "error")]
    assert len(await hall.holds(other, INFERENCE)) == 2


async def test_hold_with_changed_rate_is_skipped(hall: Hall) -> None:
    """Whether the worker renews an instance is asked again under the account's lock."""
    rated = await hall.started("100.00")
    (hold,) = await hall.holds(rated, INFERENCE)
    ref = Ref(RefType.INFERENCE_INSTANCE, "i-8")
    unrated = await hall.account("100.00")
    await hall.post(unrated, OpenHold(ref, PRICE, None, period()))
    (other,) = await hall.holds(unrated, ref)
    before = await hall.tables()
    assert not await hall.ledger.within(lambda transaction: hall.expiry._process(transaction, hold))
    assert not await hall.ledger.within(lambda transaction: hall.cycles._process(transaction, other))
    assert await hall.tables() == before
