"""Changes: the new rows of one account, as a linked list that each follower reads at its own pace.

A follower refers to the change that it consumed last, and so to all later ones. Changes that every follower has
consumed are no longer referred to, and are freed.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, Protocol

from db.position import NO_HASH, Position
from db.rows import TransactionRow

MAX_WAITING_ROWS: Final = 1_000
"""Maximum number of rows that may wait for a follower that has caught up."""
MAX_WAITING_BYTES: Final = 1_048_576
"""The same limit in bytes, approximately as serialized with all fields."""

AT_ONCE: Final = 4
"""Rows that a follower takes before other followers have their turn. Written to one client in sequence, rows cost half
as much."""
SERVED_AT_ONCE: Final = 200
"""Followers that are served before other work of the process has its turn."""

_FIXED_BYTES: Final = 400


class Change:
    """A row, or the position before the first row of an empty ledger."""

    __slots__ = ("bytes_so_far", "following", "hash", "made", "row", "seq")

    def __init__(self, row: TransactionRow | None, bytes_so_far: int = 0) -> None:
        self.row = row
        self.seq, self.hash = (0, NO_HASH) if row is None else (row.seq, row.hash)
        self.bytes_so_far = bytes_so_far
        self.following: Change | None = None
        self.made: dict[Any, Any] = {}
        """Results computed from the row for one follower that serve others too. They are freed with the change."""


def _size(row: TransactionRow) -> int:
    return _FIXED_BYTES + len(row.description) + len(row.ref_id or "")


class Standing(Protocol):
    """A follower that has caught up."""

    @property
    def place(self) -> Change:
        """The change that it consumed last."""

    def serve(self) -> bool:
        """Gives it at most `AT_ONCE` rows, if it is waiting. Returns whether it is still waiting."""

    def drop(self, newest: Change) -> None:
        """Ends the follower, because it fell too far behind or the ledger diverged. It releases its part of the
        list."""


class Tail:
    """The end of one account's list, and its followers."""

    def __init__(self, account_id: int, newest: Change) -> None:
        self.account_id = account_id
        self.newest = newest
        self.has_diverged = False
        """The ledger now has other rows: nothing more is published here."""
        self.has_ended = False
        """Nothing more is published here, though nothing is wrong: the account was moved to another shard."""
        self.followers = 0
        """Number of all followers, including those that still read older rows."""
        self._standing: set[Standing] = set()
        self._line: OrderedDict[Standing, None] = OrderedDict()
        """Followers to serve, in the order of their turns."""

    @property
    def position(self) -> Position:
        return Position(self.newest.seq, self.newest.hash)

    def stand(self, follower: Standing) -> None:
        """Adds a follower at the end of the list: it has consumed the newest change."""
        self._standing.add(follower)

    def leave(self, follower: Standing) -> None:
        self._standing.discard(follower)
        self._line.pop(follower, None)

    def publish(self, rows: Sequence[TransactionRow]) -> None:
        """Adds rows, fewer than the maximum that may wait: followers that were at the end are not behind yet."""
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
        """Ends all followers, because rows that were sent are no longer in the ledger."""
        self.has_diverged = True
        self._drop_all()

    def end(self) -> None:
        """Ends all followers, as if they had fallen behind: they go on from their positions elsewhere."""
        self.has_ended = True
        self._drop_all()

    def _drop_all(self) -> None:
        for follower in self._standing:
            follower.drop(self.newest)

    def _serve(self) -> None:
        """Serves some of the waiting followers. Other work of the process has its turn before the next ones."""
        for _ in range(min(SERVED_AT_ONCE, len(self._line))):
            follower, _ = self._line.popitem(last=False)
            if follower.serve():
                self._line[follower] = None
        if self._line:
            asyncio.get_running_loop().call_soon(self._serve)

    @property
    def is_crowded(self) -> bool:
        """Whether some follower is half as far behind as allowed. A burst of rows is then better read a little
        later."""
        end = self.newest
        return any(one.place is not end and self._waiting_share(one) > 0.5 for one in self._standing)

    def _waiting_share(self, follower: Standing) -> float:
        """Returns how far the follower is behind, as a fraction of the maximum."""
        rows = self.newest.seq - follower.place.seq
        waiting_bytes = self.newest.bytes_so_far - follower.place.bytes_so_far
        return max(rows / MAX_WAITING_ROWS, waiting_bytes / MAX_WAITING_BYTES)
