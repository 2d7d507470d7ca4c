"""The rows of one account as they pass by: a chain that each follower walks at its own pace.

A follower holds on to the change that it consumed last, and so to all that came after it. What every follower has
consumed is held by nobody and goes by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from db.rows import TransactionRow

MAX_WAITING_ROWS: Final = 1_000
"""Rows that may wait for a follower that once caught up."""
MAX_WAITING_BYTES: Final = 1_048_576
"""The same in bytes, about as they are printed with all their fields."""

_FIXED_BYTES: Final = 400


class Change:
    """A row, or the place before the first row of an empty ledger."""

    __slots__ = ("bytes_so_far", "following", "made", "row", "seq")

    def __init__(self, row: TransactionRow | None, bytes_so_far: int = 0) -> None:
        self.row = row
        self.seq = 0 if row is None else row.seq
        self.bytes_so_far = bytes_so_far
        self.following: Change | None = None
        self.made: dict[Any, Any] = {}
        """What was made of the row for one follower and serves others too. It goes with the change."""


def _size(row: TransactionRow) -> int:
    return _FIXED_BYTES + len(row.description) + len(row.ref_id or "")


class Place:
    """Where a follower that caught up stands in its account's chain."""

    __slots__ = ("change", "dropped", "woken")

    def __init__(self, change: Change) -> None:
        self.change = change
        self.dropped = False
        """It fell too far behind: its part of the chain was let go."""
        self.woken: asyncio.Future[None] | None = None
        """Set while its follower waits."""


class Tail:
    """The end of one account's chain, and who follows it."""

    def __init__(self, account_id: int, newest: Change) -> None:
        self.account_id = account_id
        self.newest = newest
        self.followers = 0
        """All of them, those that still read what was before."""
        self._places: set[Place] = set()

    def stand(self) -> Place:
        """At the end, as one who has consumed the newest."""
        place = Place(self.newest)
        self._places.add(place)
        return place

    def leave(self, place: Place) -> None:
        self._places.discard(place)

    def publish(self, rows: Sequence[TransactionRow]) -> None:
        for row in rows:
            assert row.seq == self.newest.seq + 1, f"row {row.seq} after row {self.newest.seq}"
            change = Change(row, self.newest.bytes_so_far + _size(row))
            self.newest.following = change
            self.newest = change
        for place in self._places:
            if place.woken is not None and not place.woken.done():
                place.woken.set_result(None)
            elif self._waiting_share(place) > 1:
                place.dropped = True
                place.change = self.newest

    @property
    def is_crowded(self) -> bool:
        """Half of what may wait waits for somebody: a burst of rows is better read a little later."""
        return any(self._waiting_share(place) > 0.5 for place in self._places)

    def _waiting_share(self, place: Place) -> float:
        """How much waits there, of what may."""
        rows = self.newest.seq - place.change.seq
        waiting_bytes = self.newest.bytes_so_far - place.change.bytes_so_far
        return max(rows / MAX_WAITING_ROWS, waiting_bytes / MAX_WAITING_BYTES)
