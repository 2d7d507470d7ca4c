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
        """Rows after the position; None if the ledger has diverged from it."""

    def leave(self, tail: Tail) -> None:
        """Says that the follower is gone."""


Sink = Callable[[Change], bool]
"""Takes a change at once, or says that it must be taken by `Follower.next`. Raises nothing."""


class AheadOfLedger(Exception):
    """The place to go on from lies after the newest row."""


class Diverged(Exception):
    """The ledger has another row, or none, at the position: it was restored, or failed over with rows missing."""


class Lagged(Exception):
    """More rows waited than may. Nothing is lost: whoever follows from the position on gets them."""

    def __init__(self, position: Position) -> None:
        super().__init__(f"too many rows waited after row {position.seq}")
        self.position = position


class Follower:
    """One reader of an account's changes, in the order of `seq`, each once.

    It reads what came before from the database, and when it has caught up it walks the chain that all share.
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
        """Of the change that was given out last, or that it began after."""
        self.goes_on = after is not None
        self.live = False
        """Whether the change that was given out last was new then, and not one from before."""
        self.place = tail.newest
        """In the chain: what was consumed of it last."""
        self._feed = feed
        self._tail = tail
        self._before: deque[Change] = deque()
        self._has_caught_up = self._dropped = self._closed = False
        self._woken: asyncio.Future[None] | None = None
        """Set while `next` waits."""
        self._sink: Sink | None = None
        self._at_once = 0
        """Rows that `next` gave out since others had their turn."""
        if after is None:
            self._stand()
            if tail.newest.row is not None:
                self._before.append(tail.newest)

    @property
    def is_at_beginning(self) -> bool:
        """It began on an empty ledger, and still does."""
        return self.seq == 0 and not self._before

    @property
    def position(self) -> Position:
        return Position(self.seq, self.hash)

    def attach(self, sink: Sink) -> None:
        """While `next` waits, changes go there at once, and wake nobody. What it does not take, `next` gives out."""
        self._sink = sink

    async def next(self) -> Change:
        """Waits for it. Raises Lagged and Diverged."""
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
        """Waits until a change is there to be taken, or too many were."""
        if self.place.following is None and not self._dropped:
            self._woken = asyncio.get_running_loop().create_future()
            try:
                await self._woken
            finally:
                self._woken = None
            self._at_once = 0
        elif self._at_once == AT_ONCE:
            # A line of rows must not keep the others waiting.
            await asyncio.sleep(0)
            self._at_once = 0
        self._at_once += 1

    def serve(self) -> bool:
        """Hands on what `next` waits for, or wakes it: from then on, as when it is cancelled, it alone goes on."""
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
        # Nothing is waited for between the comparison and standing there: that is why there is no gap.
        if self.seq >= self._tail.newest.seq:
            self._stand()
            return
        rows = await self._feed.replay(self._tail.account_id, self.position)
        if not rows:
            # Rows that were read, up to the tail's newest, are there no more.
            raise Diverged
        self._before.extend(map(Change, rows))

    def _stand(self) -> None:
        self._has_caught_up, self.place = True, self._tail.newest
        self._dropped = self._tail.has_diverged
        self._tail.stand(self)

    def close(self) -> None:
        """Whoever follows must close, at once when nobody waits for the changes any more. Closing twice is as well."""
        if self._closed:
            return
        self._closed = True
        self._tail.leave(self)
        # It leads back here: without it the follower goes as soon as nobody holds it.
        self._sink = None
        self._feed.leave(self._tail)
