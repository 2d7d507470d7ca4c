"""The worker's backlog is the age of the oldest work that waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from db.backlog import Backlog, read_backlog
from ledger.commands import OpenHold, Period, Ref
from ledger.kinds import RefType
from ledger.volumes import VolumeRate, set_volume
from tests.ledger.desk import Desk, posting


async def test_backlog_is_the_age_of_the_oldest_work(desk: Desk) -> None:
    now = desk.now
    assert await read_backlog(desk.database, now) == Backlog(0, 0, 0, 0)
    account_id = await desk.account("50.00")
    for number, hours in ((1, 3), (2, 30)):
        hold = OpenHold(Ref(RefType.GPU_INSTANCE, str(number)), 10**9, "x", Period(now, now + timedelta(hours=hours)))
        await desk.ledger.post(posting(account_id, hold))
    async with desk.database.write() as connection:
        rate = VolumeRate(Ref(RefType.VOLUME, "v"), 10, 10**7, now)
        await set_volume(connection, account_id, rate, now)
    later = now + timedelta(days=3)
    found = await read_backlog(desk.database, later)
    midnight = datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)
    assert found == Backlog((later - midnight).total_seconds(), 69 * 3600, 0, 0)
