"""A ledger whose newest rows were cut off, head and all, fits itself: only a checkpoint misses the rows."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from db.database import Database
from db.integrity_tables import ledger_checkpoints
from ledger.verification import checkpoints
from ledger.verification.accounts import verify_account
from ledger.verification.checkpoints import Checkpoints
from tests.ledger.desk import DAY, HOUR, START, Desk, api_usage
from tests.ledger.restoring import restore


async def _noted(database: Database) -> list[tuple[int, str, int]]:
    columns = (ledger_checkpoints.c.account_id, ledger_checkpoints.c.day, ledger_checkpoints.c.seq)
    found = await database.read(select(*columns).order_by(*columns[:2]))
    return [(account_id, str(day), seq) for account_id, day, seq in found]


@pytest.fixture
async def worker(desk: Desk) -> Checkpoints:
    return Checkpoints(desk.database, lambda: desk.now)


async def test_each_day_the_heads_that_moved_are_noted_once(
    desk: Desk, worker: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "ACCOUNTS_AT_ONCE", 2)
    one, _, three = await desk.account("1.00"), await desk.account(), await desk.account("1.00")
    assert [await worker.run(), await worker.run()] == [2, 0]
    await desk.post(one, api_usage(1))
    assert await Checkpoints(desk.database, lambda: desk.now).run() == 0, "the day is noted already"
    desk.now += DAY
    assert await worker.run() == 1
    desk.now += DAY
    assert await worker.run() == 0
    assert await _noted(desk.database) == [
        (one, "2026-11-01", 1),
        (one, "2026-11-02", 2),
        (three, "2026-11-01", 1),
    ]
    found = [row[0] for row in await desk.database.read(select(ledger_checkpoints.c.hash).order_by("account_id"))]
    assert found[0] == (await desk.rows(one))[0].hash


async def _checkpoint_faults(desk: Desk, account_id: int) -> list[tuple[str, str]]:
    """After the rows are gone, months and calls tell of them too: those that follow from the rows are left out."""
    faults = (await verify_account(desk.database, account_id)).faults
    kinds = {"checkpoint", "seq", "time", "hash", "balance", "head"}
    return [(fault.subject, fault.message) for fault in faults if fault.kind in kinds]


async def test_a_cut_tail_is_found(desk: Desk, worker: Checkpoints) -> None:
    account_id = await desk.account("1.00")
    await desk.post(account_id, api_usage(1))
    await worker.run()
    desk.now += DAY
    await desk.post(account_id, api_usage(2))
    await worker.run()
    await restore(desk.database, account_id, 1)
    message = f"the newest row of that day, txn_{account_id}_2, is missing: rows were removed"
    assert await _checkpoint_faults(desk, account_id) == [("2026-11-01", message)]


async def test_a_tail_that_was_replaced_is_found(desk: Desk, worker: Checkpoints) -> None:
    account_id = await desk.account("1.00")
    await desk.post(account_id, api_usage(1), api_usage(2))
    await worker.run()
    await restore(desk.database, account_id, 1)
    desk.now += HOUR
    await desk.post(account_id, api_usage(1), api_usage(1), api_usage(1))
    message = f"the newest row of that day, txn_{account_id}_3, has another hash: rows were replaced"
    assert await _checkpoint_faults(desk, account_id) == [("2026-11-01", message)]


async def test_a_head_that_moved_on_fits_its_checkpoints(
    desk: Desk, worker: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINTS_AT_ONCE", 2)
    account_id = await desk.account("1.00")
    for number in range(5):
        desk.now = START + number * timedelta(days=1)
        await desk.post(account_id, api_usage(1))
        assert await worker.run() == 1
    assert await _checkpoint_faults(desk, account_id) == []
