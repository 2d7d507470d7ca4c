"""What followers of the change feed see: every row, once, in the order of `seq`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection

import asyncpg
import pytest
from sqlalchemy import text

from db.database import Database
from db.feed import changes, feed
from db.feed.feed import ChangeFeed
from db.feed.follower import AheadOfLedger, Follower, Lagged
from db.feed.postgres_signals import CHANNEL
from db.position import Position
from ledger.posting import post as post_orders
from tests.ledger.desk import OPERATOR, Desk, api_usage, correction, posting
from tests.postgres import Postgres


async def followed(database: Database, account_id: int, after: int | None = None) -> Follower:
    follower = await database.changes.follow(account_id, None if after is None else Position(after))
    assert follower is not None
    return follower


async def seqs(follower: Follower, number: int) -> list[int]:
    """Of the next changes; a change that never comes is a failure."""
    async with asyncio.timeout(20):
        return [(await follower.next()).seq for _ in range(number)]


async def is_quiet(follower: Follower) -> bool:
    try:
        async with asyncio.timeout(0.6):
            await follower.next()
    except TimeoutError:
        return True
    return False


async def post(desk: Desk, account_id: int, number: int = 1) -> None:
    for _ in range(number):
        await desk.post(account_id, api_usage(1))


async def test_feed_begins_with_the_newest_row_and_continues_live(desk: Desk) -> None:
    account_id = await desk.account("1.00")
    await post(desk, account_id, 2)
    follower = await followed(desk.database, account_id)
    assert (await seqs(follower, 1), follower.live) == ([3], False)
    await post(desk, account_id, 3)
    assert (await seqs(follower, 3), follower.live) == ([4, 5, 6], True)
    assert await is_quiet(follower)


async def test_feed_of_an_empty_ledger_begins_with_its_first_row(desk: Desk) -> None:
    account_id = await desk.account()
    follower = await followed(desk.database, account_id)
    await desk.post(account_id, correction(5), writer=OPERATOR)
    assert await seqs(follower, 1) == [1]


@pytest.mark.parametrize("after", [0, 1, 299, 600])
async def test_feed_replays_rows_since_the_position(desk: Desk, after: int) -> None:
    account_id = await desk.account()
    for _ in range(6):
        await desk.ledger.post(*(posting(account_id, api_usage(1)) for _ in range(100)))
    follower = await followed(desk.database, account_id, after)
    await post(desk, account_id)
    assert await seqs(follower, 601 - after) == list(range(after + 1, 602))
    assert await is_quiet(follower)


async def test_no_gap_and_no_duplicate_between_replay_and_live_rows(desk: Desk, other_desk: Desk) -> None:
    """Followers come while both processes post: each sees every row from where it began."""
    account_id = await desk.account()

    async def write(by: Desk) -> None:
        for _ in range(60):
            await post(by, account_id)

    async def follow(begin: float, after: int) -> list[int]:
        await asyncio.sleep(begin)
        follower = await followed(desk.database, account_id, after)
        try:
            return await seqs(follower, 120 - after)
        finally:
            follower.close()

    async with asyncio.TaskGroup() as group:
        group.create_task(write(desk))
        group.create_task(write(other_desk))
        readers = [group.create_task(follow(number / 30, 0)) for number in range(20)]
    assert all(reader.result() == list(range(1, 121)) for reader in readers)


async def test_rows_of_another_process_are_delivered(desk: Desk, other_desk: Desk) -> None:
    account_id = await desk.account("1.00")
    follower = await followed(desk.database, account_id)
    await seqs(follower, 1)
    await post(other_desk, account_id, 3)
    assert await seqs(follower, 3) == [2, 3, 4]


async def test_unannounced_rows_are_found(desk: Desk, other_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of a process that died between the commit and the notification."""

    def lost(_account_ids: Collection[int]) -> None:
        pass

    account_id = await desk.account("1.00")
    follower = await followed(desk.database, account_id)
    await seqs(follower, 1)
    monkeypatch.setattr(other_desk.database.changes, "announce", lost)
    await post(other_desk, account_id, 2)
    assert await seqs(follower, 2) == [2, 3]


async def test_rolled_back_rows_are_not_announced(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    announced: list[set[int]] = []
    account_id = await desk.account("1.00")
    monkeypatch.setattr(desk.database.changes, "announce", announced.append)
    with pytest.raises(ZeroDivisionError):
        async with desk.database.write() as connection:
            await connection.execute(text("SELECT 1"))
            raise ZeroDivisionError
    await post(desk, account_id)
    assert announced == [{account_id}]


async def test_unknown_account_cannot_be_followed(desk: Desk) -> None:
    assert await desk.database.changes.follow(404, None) is None
    assert await desk.database.changes.follow(404, Position(0)) is None


async def test_position_after_the_newest_row_is_refused(desk: Desk, other_desk: Desk) -> None:
    account_id = await desk.account("1.00")
    with pytest.raises(AheadOfLedger):
        await desk.database.changes.follow(account_id, Position(2))
    follower = await followed(desk.database, account_id)
    await seqs(follower, 1)
    # Nor is one that another process has just posted, and this one has not read yet.
    await post(other_desk, account_id)
    ahead = await followed(desk.database, account_id, 2)
    await post(other_desk, account_id)
    assert (await seqs(ahead, 1), await seqs(follower, 2)) == ([3], [2, 3])


async def test_followers_of_one_account_share_its_reads(desk: Desk) -> None:
    account_id = await desk.account("1.00")
    followers = [await followed(desk.database, account_id) for _ in range(50)]
    for follower in followers:
        await seqs(follower, 1)
    await post(desk, account_id)
    found = [await follower.next() for follower in followers]
    assert len({id(change) for change in found}) == 1


@pytest.fixture
async def slow_one(desk: Desk) -> AsyncIterator[tuple[int, Follower]]:
    """It has caught up, and reads nothing more."""
    account_id = await desk.account("1.00")
    follower = await followed(desk.database, account_id)
    await seqs(follower, 1)
    yield account_id, follower
    follower.close()


async def test_lagged_error_has_the_position_to_resume_from(desk: Desk, slow_one: tuple[int, Follower]) -> None:
    account_id, slow = slow_one
    quick = await followed(desk.database, account_id)
    for _ in range(13):
        await desk.ledger.post(*(posting(account_id, api_usage(1)) for _ in range(100)))
    assert await seqs(quick, 1301) == list(range(1, 1302))
    with pytest.raises(Lagged) as lagged:
        await seqs(slow, 1301)
    assert lagged.value.position.seq == 1
    resumed = await followed(desk.database, account_id, lagged.value.position.seq)
    assert await seqs(resumed, 1300) == list(range(2, 1302))


async def test_burst_is_read_as_fast_as_followers_take_it(desk: Desk) -> None:
    """Nobody who reads is dropped, however many rows one transaction posts."""
    account_id = await desk.account("1.00")
    follower = await followed(desk.database, account_id)
    await seqs(follower, 1)
    await desk.ledger.post(*(posting(account_id, api_usage(1)) for _ in range(4_000)))
    found = []
    for _ in range(4_000):
        found += await seqs(follower, 1)
        await asyncio.sleep(0)
    assert found == list(range(2, 4_002))


async def test_waiting_rows_are_limited_by_bytes(
    desk: Desk, slow_one: tuple[int, Follower], monkeypatch: pytest.MonkeyPatch
) -> None:
    account_id, slow = slow_one
    monkeypatch.setattr(changes, "MAX_WAITING_BYTES", 10_000)
    monkeypatch.setattr(feed, "READ_ROWS", 10)
    quick = await followed(desk.database, account_id)
    await post(desk, account_id, 30)
    assert await seqs(quick, 31) == list(range(1, 32))
    with pytest.raises(Lagged):
        await seqs(slow, 30)


async def test_cancelled_followers_are_freed(desk: Desk) -> None:
    account_id = await desk.account("1.00")
    first = await followed(desk.database, account_id)
    waiting = [asyncio.create_task((await followed(desk.database, account_id, 1)).next()) for _ in range(5)]
    assert _kept(desk.database.changes) == (1, 6)
    await asyncio.sleep(0.05)
    for task in waiting:
        task.cancel()
    assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [asyncio.CancelledError] * 5
    # One that was cancelled while it waited may go on.
    await post(desk, account_id)
    assert await seqs(first, 2) == [1, 2]


def _kept(of: ChangeFeed) -> tuple[int, int]:
    tails = of._tails.values()
    return len(tails), sum(tail.followers for tail in tails)


async def test_closing_a_follower_twice_frees_its_tail(desk: Desk) -> None:
    account_id = await desk.account("1.00")
    followers = [await followed(desk.database, account_id, after) for after in (None, 0, 1)]
    for follower in followers:
        follower.close()
        follower.close()
    assert _kept(desk.database.changes) == (0, 0)


@pytest.mark.parametrize("backend", ["postgresql"])
async def test_feed_continues_after_the_database_closes_connections(
    desk: Desk, other_desk: Desk, postgres_server: Postgres, backend: str
) -> None:
    """All connections of the follower's process are ended, the listening one among them, while others post."""
    account_id = await desk.account("1.00")
    follower = await followed(desk.database, account_id)
    await seqs(follower, 1)
    await asyncio.sleep(0.2)
    for round_ in range(3):
        await other_desk.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        # A connection that was ended while nobody used it is known to be when that was read from it.
        await asyncio.sleep(0.1)
        await post(other_desk, account_id, 2)
        assert await seqs(follower, 2) == [2 * round_ + 2, 2 * round_ + 3]


@pytest.mark.parametrize("backend", ["postgresql"])
async def test_posting_transaction_sends_no_notification(desk: Desk, postgresql_url: str, backend: str) -> None:
    """NOTIFY in it would serialize all commits: what was posted is told afterwards, of all accounts together."""
    accounts = [await desk.account("1.00") for _ in range(5)]
    await asyncio.sleep(0.1)
    notices: list[tuple[int, str]] = []
    listening = await asyncpg.connect(postgresql_url)
    try:
        await listening.add_listener(CHANNEL, lambda *notice: notices.append((notice[1], notice[3])))
        async with desk.database.write() as connection:
            await post_orders(connection, [posting(account_id, api_usage(1)) for account_id in accounts])
            posting_pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        await asyncio.sleep(0.3)
    finally:
        await listening.close()
    assert [payload for _, payload in notices] == [" ".join(map(str, sorted(accounts)))]
    assert posting_pid not in {pid for pid, _ in notices}
