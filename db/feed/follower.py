from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from db.feed.changes import Change, Place, Tail

if TYPE_CHECKING:
    from db.feed.feed import ChangeFeed


AT_ONCE: Final = 4
"""Rows that a follower may take before others have their turn: written to one client one after the other they cost half
as much. With 5,000 followers of one account that makes a turn of 200 ms."""


class AheadOfLedger(Exception):
    """The place to go on from lies after the newest row."""


class Lagged(Exception):
    """More rows waited than may. Nothing is lost: whoever follows from `seq` on gets them."""

    def __init__(self, seq: int) -> None:
        super().__init__(f"too many rows waited after row {seq}")
        self.seq = seq


class Follower:
    """One reader of an account's changes, in the order of `seq`, each once.

    It reads what came before from the database, and when it has caught up it walks the chain that all share.
    """

    def __init__(self, feed: ChangeFeed, tail: Tail, after: int | None) -> None:
        self.seq = max(tail.newest.seq - 1, 0) if after is None else after
        """Of the change that was given out last, or that it began after."""
        self.goes_on = after is not None
        self.live = False
        """Whether the change that was given out last was new then, and not one from before."""
        self._feed = feed
        self._tail = tail
        self._before: deque[Change] = deque()
        self._place: Place | None = None
        self._closed = False
        self._at_once = 1
        # Asked for once: Python 3.11 asks the system for the process's id each time.
        self._loop = asyncio.get_running_loop()
        if after is None:
            self._place = tail.stand()
            if tail.newest.row is not None:
                self._before.append(tail.newest)

    @property
    def is_at_beginning(self) -> bool:
        """It began on an empty ledger, and still does."""
        return self.seq == 0 and not self._before

    async def next(self) -> Change:
        """Waits for it. Raises Lagged."""
        while not self._before:
            place = self._place
            if place is None:
                await self._catch_up()
                continue
            # In this function and not in one of its own: thousands may walk at the same time.
            if place.change.following is None and not place.dropped:
                place.woken = self._loop.create_future()
                try:
                    await place.woken
                finally:
                    place.woken = None
                self._at_once = 1
            elif self._at_once < AT_ONCE:
                self._at_once += 1
            else:
                # A line of rows must not keep the others waiting.
                self._at_once = 1
                await asyncio.sleep(0)
            if place.dropped:
                raise Lagged(self.seq)
            change = place.change.following
            assert change is not None
            place.change = change
            if change.seq > self.seq:
                self.seq, self.live = change.seq, True
                return change
        change, self.live = self._before.popleft(), False
        self.seq = change.seq
        return change

    async def _catch_up(self) -> None:
        # Nothing is waited for between the comparison and standing there: that is why there is no gap.
        if self.seq >= self._tail.newest.seq:
            self._place = self._tail.stand()
            return
        rows = await self._feed.replay(self._tail.account_id, self.seq)
        assert rows, "rows that were read are there no more"
        self._before.extend(map(Change, rows))

    def close(self) -> None:
        """Whoever follows must close, at once when nobody waits for the changes any more. Closing twice is as well."""
        if self._closed:
            return
        self._closed = True
        if self._place is not None:
            self._tail.leave(self._place)
        self._feed.leave(self._tail)
