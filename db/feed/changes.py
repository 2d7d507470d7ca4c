"""The rows of one account as they pass by: a chain that each follower walks at its own pace.

A follower holds on to the change that it consumed last, and so to all that came after it. What every follower has
consumed is held by nobody and goes by itself.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, Protocol

from db.position import NO_HASH, Position
from db.rows import TransactionRow

MAX_WAITING_ROWS: Final = 1_000
"""Rows that may wait for a follower that once caught up."""
MAX_WAITING_BYTES: Final = 1_048_576
"""The same in bytes, about as they are printed with all their fields."""

AT_ONCE: Final = 4
"""Rows that a follower takes before others have their turn: written to one client one after the other they cost half as
much."""
SERVED_AT_ONCE: Final = 200
"""Followers that are served before whatever else the process does has its turn."""

_FIXED_BYTES: Final = 400


class Change:
    """A row, or the place before the first row of an empty ledger."""

    __slots__ = ("bytes_so_far", "following", "hash", "made", "row", "seq")

    def __init__(self, row: TransactionRow | None, bytes_so_far: int = 0) -> None:
        self.row = row
        self.seq, self.hash = (0, NO_HASH) if row is None else (row.seq, row.hash)
        self.bytes_so_far = bytes_so_far
        self.following: Change | None = None
        self.made: dict[Any, Any] = {}
        """What was made of the row for one follower and serves others too. It goes with the change."""


def _size(row: TransactionRow) -> int:
    return _FIXED_BYTES + len(row.description) + len(row.ref_id or "")


class Standing(Protocol):
    """A follower that has caught up."""

    @property
    def place(self) -> Change:
        """What it consumed last."""

    def serve(self) -> bool:
        """Gives it what it waits for, if it does: `AT_ONCE` rows at most. Says whether it waits for more."""

    def drop(self, newest: Change) -> None:
        """It fell too far behind, or the ledger diverged: it lets go of its part of the chain."""


class Tail:
    """The end of one account's chain, and who follows it."""

    def __init__(self, account_id: int, newest: Change) -> None:
        self.account_id = account_id
        self.newest = newest
        self.has_diverged = False
        """The ledger has other rows now: nothing is published here any more."""
        self.followers = 0
        """All of them, those that still read what was before."""
        self._standing: set[Standing] = set()
        self._line: OrderedDict[Standing, None] = OrderedDict()
        """Those to serve, in the order of their turns."""

    @property
    def position(self) -> Position:
        return Position(self.newest.seq, self.newest.hash)

    def stand(self, follower: Standing) -> None:
        """At the end, as one who has consumed the newest."""
        self._standing.add(follower)

    def leave(self, follower: Standing) -> None:
        self._standing.discard(follower)
        self._line.pop(follower, None)

    def publish(self, rows: Sequence[TransactionRow]) -> None:
        """Fewer than may wait: those who were at the end before are not behind yet."""
        end = self.newest
        for row in rows:
            assert row.seq == self.newest.seq + 1, f"row {row.seq} after row {self.newest.seq}"
            change = Change(row, self.newest.bytes_so_far + _size(row))
            self.newest.following = change
            self.newest = change
        for follower in self._standing:
            if follower.place is not end and self._waiting_share(follower) > 1:
                follower.drop(self.newest)
        if not self._line:
            asyncio.get_running_loop().call_soon(self._serve)
        self._line.update(dict.fromkeys(self._standing))

    def diverge(self) -> None:
        """Ends all who follow: what was given out is not in the ledger any more."""
        self.has_diverged = True
        for follower in self._standing:
            follower.drop(self.newest)

    def _serve(self) -> None:
        """A part of those in line: whoever else waits for the process has a turn before the next part."""
        for _ in range(min(SERVED_AT_ONCE, len(self._line))):
            follower, _ = self._line.popitem(last=False)
            if follower.serve():
                self._line[follower] = None
        if self._line:
            asyncio.get_running_loop().call_soon(self._serve)

    @property
    def is_crowded(self) -> bool:
        """Half of what may wait waits for somebody: a burst of rows is better read a little later."""
        end = self.newest
        return any(one.place is not end and self._waiting_share(one) > 0.5 for one in self._standing)

    def _waiting_share(self, follower: Standing) -> float:
        """How much waits for it, of what may."""
        rows = self.newest.seq - follower.place.seq
        waiting_bytes = self.newest.bytes_so_far - follower.place.bytes_so_far
        return max(rows / MAX_WAITING_ROWS, waiting_bytes / MAX_WAITING_BYTES)
