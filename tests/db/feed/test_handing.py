"""Changes that are handed to followers while they wait: the same rows in the same order as by waking them."""

from __future__ import annotations

import asyncio
import random

import pytest

from db.feed import changes
from db.feed.changes import AT_ONCE, SERVED_AT_ONCE, Change, Tail
from db.feed.follower import Follower, Lagged, Sink
from db.position import Position
from db.rows import TransactionRow
from tests.db.feed.test_feed import followed, post, seqs
from tests.ledger.desk import Desk, api_usage, posting


class Ledger:
    """An account's rows, published by the test itself, at the moment of its choice."""

    def __init__(self, desk: Desk, rows: list[TransactionRow]) -> None:
        self._desk = desk
        self._rows = rows
        self.tail = Tail(rows[0].account_id, Change(rows.pop(0)))

    def follower(self) -> Follower:
        """It has consumed the first row."""
        self.tail.followers += 1
        return Follower(self._desk.database.changes, self.tail, Position(1))

    def publish(self, number: int = 1) -> None:
        """The next rows, all at once."""
        rows, self._rows = self._rows[:number], self._rows[number:]
        assert len(rows) == number
        self.tail.publish(rows)


@pytest.fixture
async def ledger(desk: Desk) -> Ledger:
    account_id = await desk.account()
    await desk.ledger.post(*(posting(account_id, api_usage(1)) for _ in range(3 * AT_ONCE)))
    return Ledger(desk, await desk.rows(account_id))


class Hand:
    """Takes what it is handed, as long as it is open."""

    def __init__(self, follower: Follower) -> None:
        self.taken: list[int] = []
        self.is_open = True
        follower.attach(self._take)

    def _take(self, change: Change) -> bool:
        if self.is_open:
            self.taken.append(change.seq)
        return self.is_open


async def _turns(number: int = 3) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_changes_sent_to_a_sink_wake_nobody(ledger: Ledger) -> None:
    follower = ledger.follower()
    hand = Hand(follower)
    waiting = asyncio.create_task(follower.next())
    await _turns()
    ledger.publish()
    ledger.publish(2)
    await _turns()
    assert (hand.taken, follower.seq, follower.live, waiting.done()) == ([2, 3, 4], 4, True, False)
    hand.is_open = False
    ledger.publish()
    assert ((await waiting).seq, hand.taken) == (5, [2, 3, 4])


async def test_sink_gets_nothing_while_nobody_waits(ledger: Ledger) -> None:
    follower = ledger.follower()
    hand = Hand(follower)
    ledger.publish()
    await _turns()
    assert await seqs(follower, 1) == [2]
    ledger.publish(2)
    await _turns()
    assert await seqs(follower, 2) == [3, 4]
    assert hand.taken == []


@pytest.mark.parametrize("order_", ["cancelled first", "published first"])
async def test_sink_gets_nothing_after_next_is_cancelled(ledger: Ledger, order_: str) -> None:
    """Not even before its task knows: by then the client may use the id of its operation for another one."""
    follower = ledger.follower()
    hand = Hand(follower)
    waiting = asyncio.create_task(follower.next())
    await _turns()
    if order_ == "cancelled first":
        waiting.cancel()
        ledger.publish()
    else:
        ledger.publish()
        waiting.cancel()
    await _turns()
    assert (hand.taken, waiting.cancelled()) == ([], True)
    assert await seqs(follower, 1) == [2]


async def test_woken_follower_takes_further_changes_itself(ledger: Ledger) -> None:
    """What comes between its being woken and its turn is not handed to it: it would overtake what it was woken for."""
    follower = ledger.follower()
    hand = Hand(follower)
    hand.is_open = False
    waiting = asyncio.create_task(follower.next())
    await _turns()
    ledger.publish()
    asyncio.get_running_loop().call_soon(ledger.publish)
    await asyncio.sleep(0)
    hand.is_open = True
    await _turns()
    assert ((await waiting).seq, hand.taken) == (2, [])
    assert await seqs(follower, 1) == [3]


async def test_followers_take_turns_on_a_sequence_of_rows(ledger: Ledger) -> None:
    followers = [ledger.follower() for _ in range(2)]
    handed: list[tuple[int, int]] = []

    def hand(number: int) -> Sink:
        def take(change: Change) -> bool:
            handed.append((number, change.seq))
            return True

        return take

    for number, follower in enumerate(followers):
        follower.attach(hand(number))
    waiting = [asyncio.create_task(follower.next()) for follower in followers]
    await _turns()
    rows = 2 * AT_ONCE + 1
    ledger.publish(rows)
    await _turns()
    assert [seq for number, seq in handed if number == 0] == list(range(2, rows + 2))
    assert [seq for number, seq in handed if number == 1] == list(range(2, rows + 2))
    turns = [number for number, _ in handed[::AT_ONCE]]
    assert turns[:2] == [turns[2], turns[3]]
    assert turns[0] != turns[1]
    for task in waiting:
        task.cancel()


async def test_other_tasks_run_while_many_followers_are_served(ledger: Ledger) -> None:
    followers = [ledger.follower() for _ in range(2 * SERVED_AT_ONCE + 1)]
    hands = [Hand(follower) for follower in followers]
    waiting = [asyncio.create_task(follower.next()) for follower in followers]
    await _turns()
    ledger.publish()
    served = []
    for _ in range(3):
        await asyncio.sleep(0)
        served.append(sum(len(hand.taken) for hand in hands))
    assert served == [SERVED_AT_ONCE, 2 * SERVED_AT_ONCE, 2 * SERVED_AT_ONCE + 1]
    for task in waiting:
        task.cancel()


async def test_followers_that_leave_while_many_are_served_are_skipped(ledger: Ledger) -> None:
    followers = [ledger.follower() for _ in range(2 * SERVED_AT_ONCE)]
    hands = [Hand(follower) for follower in followers]
    waiting = [asyncio.create_task(follower.next()) for follower in followers]
    await _turns()
    ledger.publish()
    await asyncio.sleep(0)
    left = [number for number, hand in enumerate(hands) if not hand.taken][::2]
    for number in left:
        followers[number].close()
    await _turns()
    assert [number for number, hand in enumerate(hands) if not hand.taken] == left
    for task in waiting:
        task.cancel()


async def test_only_the_slow_follower_falls_behind(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MAX_WAITING_ROWS", 5)
    slow, quick = ledger.follower(), ledger.follower()
    slow_hand, quick_hand = Hand(slow), Hand(quick)
    waiting = [asyncio.create_task(one.next()) for one in (slow, quick)]
    await _turns()
    slow_hand.is_open = False
    for _ in range(7):
        ledger.publish()
        await _turns()
    assert quick_hand.taken == [2, 3, 4, 5, 6, 7, 8]
    assert (await waiting[0]).seq == 2
    slow_hand.is_open = True
    with pytest.raises(Lagged) as lagged:
        await slow.next()
    assert (lagged.value.position.seq, slow_hand.taken) == (2, [])
    waiting[1].cancel()


async def test_waiting_follower_raises_lagged(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the process can't keep up with all that it has to hand on."""
    monkeypatch.setattr(changes, "MAX_WAITING_ROWS", 5)
    follower = ledger.follower()
    hand = Hand(follower)
    waiting = asyncio.create_task(follower.next())
    await _turns()
    ledger.publish(3)
    ledger.publish(3)
    with pytest.raises(Lagged) as lagged:
        await waiting
    assert (lagged.value.position.seq, hand.taken) == (1, [])


async def test_every_row_is_delivered_once_by_sink_or_next(desk: Desk, other_desk: Desk) -> None:
    """Two processes post, followers come meanwhile, and each now and then refuses what it is handed."""
    account_id, rows = await desk.account(), 160

    async def follow(number: int) -> list[int]:
        await asyncio.sleep(number / 40)
        chance, found = random.Random(number), list[int]()
        follower = await followed(desk.database, account_id, 0)

        def take(change: Change) -> bool:
            takes = chance.random() < 0.7
            if takes:
                found.append(change.seq)
            return takes

        follower.attach(take)
        async with asyncio.timeout(20):
            while len(found) < rows:
                try:
                    async with asyncio.timeout(0.05):
                        change = await follower.next()
                except TimeoutError:
                    continue
                found.append(change.seq)
                await asyncio.sleep(chance.choice((0, 0, 0.01)))
        follower.close()
        return found

    async with asyncio.TaskGroup() as group:
        for by in (desk, other_desk):
            group.create_task(post(by, account_id, rows // 2))
        readers = [group.create_task(follow(number)) for number in range(20)]
    assert [reader.result() for reader in readers] == [list(range(1, rows + 1))] * 20
