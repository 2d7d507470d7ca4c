"""A clock that is far from PostgreSQL's posts nothing. SQLite has none: there, rows are posted whatever the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from db.clocks import reading_between
from db.database import Database
from db.errors import ClockWrong
from gateway.commands.options import settings_of
from gateway.jobs import Job, Worker, build_jobs
from ledger import clock_watch
from ledger.clock_watch import ClockWatch
from ledger.posting import Ledger, utc_now
from tests.ledger.desk import Desk, api_usage, open_hold, posting, usd

START = datetime(2026, 11, 1, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


class MachineClock:
    """The true time, and what is added to it."""

    def __init__(self, seconds: float = 0) -> None:
        self.seconds = seconds

    def __call__(self) -> datetime:
        return utc_now() + timedelta(seconds=self.seconds)


@pytest.fixture
def clock() -> MachineClock:
    return MachineClock()


@pytest.fixture
def desk(database: Database, clock: MachineClock) -> Desk:
    desk = Desk(database)
    desk.ledger = Ledger(database, lambda: desk.now, ClockWatch(clock))
    return desk


@given(MOMENTS, st.timedeltas(timedelta(0), timedelta(days=1)), MOMENTS)
def test_clock_difference_excludes_the_delay_of_the_reading(
    before: datetime, took: timedelta, server: datetime
) -> None:
    after = before + took
    ahead = reading_between(before, server, after).ahead
    if before <= server <= after:
        assert ahead == timedelta(0)
    else:
        assert ahead == (before - server if server < before else after - server)


Post = Callable[[Desk, int], Awaitable[object]]


async def _several_accounts(desk: Desk, account_id: int) -> None:
    other = await desk.account()
    await desk.ledger.post(posting(account_id, api_usage(1)), posting(other, api_usage(1)))


async def _within(desk: Desk, account_id: int) -> None:
    await desk.ledger.within(lambda transaction: transaction.post(posting(account_id, api_usage(1))))


async def _again(desk: Desk, account_id: int) -> None:
    await desk.post(account_id, api_usage(1), key="made before")


POSTS: dict[str, Post] = {
    "one": lambda desk, account_id: desk.post(account_id, api_usage(1)),
    "a hold": lambda desk, account_id: desk.post(account_id, open_hold(1)),
    "several accounts": _several_accounts,
    "within a transaction": _within,
    "a call that was made before": _again,
}


@pytest.mark.parametrize("post", POSTS.values(), ids=POSTS)
@pytest.mark.parametrize("seconds", [-90, 90])
async def test_a_wrong_clock_posts_nothing(desk: Desk, clock: MachineClock, seconds: float, post: Post) -> None:
    account_id = await desk.account("1.00")
    await desk.post(account_id, api_usage(1), key="made before")
    clock.seconds = seconds
    before = await desk.rows(account_id)
    if not desk.database.is_postgresql:
        await post(desk, account_id)
        return
    times = (
        r"^clock: this process's clock shows 20\S+Z, the database server's 20\S+Z: they differ by more than 60 seconds"
    )
    with pytest.raises(ClockWrong, match=times):
        await post(desk, account_id)
    assert await desk.rows(account_id) == before
    # It is right again by itself.
    clock.seconds = seconds / 3
    await post(desk, account_id)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_calls_that_share_a_commit_are_all_refused(desk: Desk, clock: MachineClock) -> None:
    account_ids = [await desk.account("1.00") for _ in range(10)]
    clock.seconds = 90
    with capture_logs() as logs:
        calls = [desk.post(account_id, api_usage(1)) for account_id in account_ids * 3]
        found = await asyncio.gather(*calls, return_exceptions=True)
        clock.seconds = 0
        await desk.post(account_ids[0], api_usage(1))
    assert {type(one) for one in found} == {ClockWrong}
    # The log is told when it changes, not at each call.
    assert [line["event"] for line in logs] == ["the clock is wrong", "the clock is right again"]
    assert 89 < logs[0]["ahead_seconds"] < 91


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("seconds", "is_wrong"), [(0.0, False), (30.0, True), (-30.0, True)])
async def test_waiting_for_a_lock_does_not_change_the_clock_check(
    desk: Desk, clock: MachineClock, monkeypatch: pytest.MonkeyPatch, seconds: float, is_wrong: bool
) -> None:
    monkeypatch.setattr(clock_watch, "TOLERANCE", timedelta(seconds=0.3))
    account_id = await desk.account("1.00")
    clock.seconds = seconds
    async with desk.database.write() as connection:
        await connection.exec_driver_sql(f"UPDATE accounts SET name = 'Renamed' WHERE id = {account_id}")
        waiting = asyncio.create_task(_within(desk, account_id))
        await asyncio.wait({waiting}, timeout=20 if is_wrong else 1)
        assert waiting.done() == is_wrong, "a wrong clock is refused before anything is waited for"
    if is_wrong:
        with pytest.raises(ClockWrong):
            await waiting
    else:
        await waiting


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_worker_bills_nothing_with_a_wrong_clock(desk: Desk, clock: MachineClock, database_url: str) -> None:
    desk.now = utc_now() - timedelta(days=3)
    account_id = await desk.account("100.00")
    await desk.post(account_id, open_hold(usd("1.00")))
    jobs = build_jobs(settings_of({"database_url": database_url}), desk.database, None, watch=ClockWatch(clock))
    (expiry,) = [job for job in jobs if job.name == "expiry"]
    before = await desk.rows(account_id)
    clock.seconds = 90
    with pytest.raises(ClockWrong):
        await expiry.run()
    assert await desk.rows(account_id) == before
    assert (await desk.charge(account_id)).state == "open"
    clock.seconds = 0
    await expiry.run()
    assert (await desk.charge(account_id)).state == "expired"


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_worker_runs_no_job_with_a_wrong_clock(database: Database, clock: MachineClock) -> None:
    rounds = []

    async def note_round() -> int:
        rounds.append(clock.seconds)
        return 0

    worker = Worker(database, [Job("a job that posts nothing", note_round)], 1.0, watch=ClockWatch(clock))
    clock.seconds = 90
    assert await worker.once() is False
    clock.seconds = 0
    assert await worker.once() is True
    assert rounds == [0]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_sqlite_reports_a_clock_behind_the_newest_row(desk: Desk, clock: MachineClock) -> None:
    told: list[float] = []
    watch = ClockWatch(clock, told.append)
    assert await watch.measure(desk.database) is None
    desk.now = utc_now()
    await desk.account("1.00")
    desk.now -= timedelta(days=9)
    await desk.account("1.00")
    assert await watch.measure(desk.database) is None
    assert told == [0.0, 0.0]
    clock.seconds = -90
    with capture_logs() as logs:
        for _ in range(3):
            problem = await watch.measure(desk.database)
            assert problem is not None
            assert ", the newest row was recorded at 20" in problem
    assert [line["event"] for line in logs] == ["the clock is wrong"]
    assert -91 < told[-1] < -60
    await desk.account("1.00")
