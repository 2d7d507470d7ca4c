from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from db.feed.changes import AT_ONCE, Change, Tail
from db.position import Position
from db.rows import TransactionRow


class Feed(Protocol):
    """The feed that a follower belongs to."""

    async def replay(self, account_id: int, position: Position) -> Sequence[TransactionRow] | None:
        """Returns rows after the position; None if the ledger diverged from it. Raises AfterArchived."""

    def leave(self, tail: Tail) -> None:
        """Tells the feed that the follower is gone."""


Sink = Callable[[Change], bool]
"""Accepts a change at once, or returns False: `Follower.next` then returns it. Raises nothing."""


class AheadOfLedger(Exception):
    """The position is after the newest row."""


class Diverged(Exception):
    """The ledger has another row, or no row, at the position: it was restored, or failed over with rows missing."""


class AfterArchived(Diverged):
    """The row at the position, or one after it, was moved to the archive."""


class Lagged(Exception):
    """Too many rows waited. Nothing is lost: a follower from the position on gets them."""

    def __init__(self, position: Position) -> None:
        super().__init__(f"too many rows waited after row {position.seq}")
        self.position = position


class Follower:
    """Reads an account's changes in the order of `seq`, each once.

    A follower reads older rows from the database. When it has caught up, it continues in the shared list.
    """

    __slots__ = (
        "_at_once",
        "_before",
        "_closed",
        "_dropped",
        "_feed",
        "_has_caught_up",
        "_sink",
        "_tail",
        "_woken",
        "goes_on",
        "hash",
        "live",
        "place",
        "seq",
    )

    def __init__(self, feed: Feed, tail: Tail, after: Position | None) -> None:
        self.seq, self.hash = after or Position(max(tail.newest.seq - 1, 0))
        """Position of the change that was returned last, or after which the follower began."""
        self.goes_on = after is not None
        self.live = False
        """Whether the last change was new when it was returned, not read as an older row."""
        self.place = tail.newest
        """The change in the list that it consumed last."""
        self._feed = feed
        self._tail = tail
        self._before: deque[Change] = deque()
        self._has_caught_up = self._dropped = self._closed = False
        self._woken: asyncio.Future[None] | None = None
        """Set while `next` waits."""
        self._sink: Sink | None = None
        self._at_once = 0
        """Rows that `next` has returned since others had their turn."""
        if after is None:
            self._stand()
            if tail.newest.row is not None:
                self._before.append(tail.newest)

    @property
    def is_at_beginning(self) -> bool:
        """Whether the follower began on an empty ledger and has no row yet."""
        return self.seq == 0 and not self._before

    @property
    def position(self) -> Position:
        return Position(self.seq, self.hash)

    def attach(self, sink: Sink) -> None:
        """Sends changes to the sink at once while `next` waits, without waking the caller of `next`.

        Changes that the sink refuses are returned by `next`.
        """
        self._sink = sink

    async def next(self) -> Change:
        """Waits for the next change and returns it. Raises Lagged and Diverged."""
        while not self._before:
            if not self._has_caught_up:
                await self._catch_up()
                continue
            await self._reach_following()
            if self._dropped:
                raise Diverged if self._tail.has_diverged else Lagged(self.position)
            change = self.place.following
            assert change is not None
            self.place = change
            if change.seq > self.seq:
                self.seq, self.hash, self.live = change.seq, change.hash, True
                return change
        change, self.live = self._before.popleft(), False
        self.seq, self.hash = change.seq, change.hash
        return change

    async def _reach_following(self) -> None:
        """Waits until the follower has a next change, or was dropped."""
        if self.place.following is None and not self._dropped:
            self._woken = asyncio.get_running_loop().create_future()
            try:
                await self._woken
            finally:
                self._woken = None
            self._at_once = 0
        elif self._at_once == AT_ONCE:
            # A sequence of rows must not keep other followers waiting.
            await asyncio.sleep(0)
            self._at_once = 0
        self._at_once += 1

    def serve(self) -> bool:
        """Sends the waiting changes to the sink, or wakes `next`.

        Once `next` is woken or cancelled, only `next` continues.
        """
        for _ in range(AT_ONCE):
            woken, change = self._woken, self.place.following
            if woken is None or woken.done() or change is None:
                return False
            if change.seq > self.seq:
                if self._sink is None or not self._sink(change):
                    woken.set_result(None)
                    return False
                self.seq, self.hash, self.live = change.seq, change.hash, True
            self.place = change
        return self.place.following is not None

    def drop(self, newest: Change) -> None:
        self._dropped, self.place = True, newest
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def _catch_up(self) -> None:
        # There is no await between the comparison and the next call, so no row is missed.
        if self.seq >= self._tail.newest.seq:
            self._stand()
            return
        rows = await self._feed.replay(self._tail.account_id, self.position)
        if self._tail.has_ended:
            # The rows may be removed already.
            raise Lagged(self.position)
        if not rows:
            # Rows up to the tail's newest were there before, and are gone.
            raise Diverged
        self._before.extend(map(Change, rows))

    def _stand(self) -> None:
        self._has_caught_up, self.place = True, self._tail.newest
        self._dropped = self._tail.has_diverged or self._tail.has_ended
        self._tail.stand(self)

    def close(self) -> None:
        """Ends the follower. Call it as soon as nobody waits for the changes. Closing twice is allowed."""
        if self._closed:
            return
        self._closed = True
        self._tail.leave(self)
        # The sink refers back to the follower. Without the sink, the follower is freed when nobody refers to it.
        self._sink = None
        self._feed.leave(self._tail)
