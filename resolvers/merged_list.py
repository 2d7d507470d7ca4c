"""Merged lists: one list for operators from those of all shards (docs/decisions/0017).

Each shard's list has the rows that the shard gave their numbers, newest first. They are merged by the times of their
first rows. A cursor has the position in each list, so a page goes on exactly where the one before ended, even if the
servers' clocks differ. Rows of accounts that were moved stay in the list of the shard that gave them their numbers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from db.connections.snapshots import Snapshot
from db.shards import IDS_PER_SHARD
from ledger.errors import BadCursor
from resolvers.cursors import (
    NO_FILTER,
    CursorKind,
    ListFilter,
    ShardsCursorWriter,
    decoded_in,
    filter_digest,
    shard_positions,
)
from resolvers.pages import Page, page_rows, window_of

Row = TypeVar("Row")

ReadPage = Callable[[Snapshot, int, int | None, int | None], Awaitable[Sequence[Row]]]
"""Reads at most so many rows that a shard has, those after a position if there is one, and down to a number if there is
one."""

ReadList = Callable[[int, int, int | None], Awaitable[Sequence[Row]]]
"""Does the same for the list of the shard with this number."""


class _Placed(NamedTuple, Generic[Row]):
    row: Row
    positions: tuple[int, ...]
    """The position in each shard's list after this row."""


class MergedList(Generic[Row]):
    def __init__(self, kind: CursorKind, number: Callable[[Row], int], at: Callable[[Row], datetime]) -> None:
        self._kind = kind
        self._number = number
        self._at = at

    async def page(
        self,
        snapshots: Sequence[Snapshot],
        read: ReadPage[Row],
        first: int | None,
        after: str | None,
        row_filter: ListFilter | None = None,
        hosts: Collection[int] = (),
    ) -> Page[Row]:
        """Reads a page. `hosts` are the shards that accounts were moved to. Raises BadUserInput and BadCursor."""
        digest = NO_FILTER if row_filter is None else filter_digest(row_filter)
        given = decoded_in(after, "after", self._kind, 0, digest, shard_positions)
        window = window_of(first, None, given, None)
        positions = _positions(given, len(snapshots))
        read_list = partial(self._list, snapshots, read, hosts)
        found = await asyncio.gather(
            *(read_list(shard, window.limit, position) for shard, position in enumerate(positions))
        )
        placed = self._merged(found, positions, window.limit)
        rows, has_next, has_previous = page_rows([one.row for one in placed], window)
        if has_previous:
            has_previous = await self._has_newer(read_list, positions)
        after_row = {self._number(one.row): one.positions for one in placed}
        cursors = partial(self._cursors, ShardsCursorWriter(self._kind, digest), after_row)
        return Page(0, row_filter, rows, has_next, has_previous, cursors)

    def _merged(self, found: Sequence[Sequence[Row]], given: Sequence[int | None], limit: int) -> list[_Placed[Row]]:
        """Returns the first rows, newest first, each with the positions after it."""
        # A list of which the page has no row goes on before its first row: rows that came meanwhile are left out.
        starts = [
            position if position is not None else self._number(rows[0]) + 1 if rows else shard * IDS_PER_SHARD + 1
            for shard, (rows, position) in enumerate(zip(found, given, strict=True))
        ]
        placed: list[_Placed[Row]] = []
        left = [deque(rows) for rows in found]
        while len(placed) < limit and any(left):
            shard = -max((self._at(rows[0]), -shard) for shard, rows in enumerate(left) if rows)[1]
            row = left[shard].popleft()
            starts[shard] = self._number(row)
            placed.append(_Placed(row, tuple(starts)))
        return placed

    async def _list(
        self,
        snapshots: Sequence[Snapshot],
        read: ReadPage[Row],
        hosts: Collection[int],
        shard: int,
        limit: int,
        after: int | None,
    ) -> Sequence[Row]:
        """Reads rows of one shard's list, wherever they are now."""
        if not hosts:
            return await read(snapshots[shard], limit, after, None)
        first, last = shard * IDS_PER_SHARD, (shard + 1) * IDS_PER_SHARD
        places = [snapshots[number] for number in sorted({shard, *hosts})]
        end = last + 1 if after is None else after
        rows = [row for one in places for row in await read(one, limit, end, first)]
        return sorted(rows, key=self._number, reverse=True)[:limit]

    async def _has_newer(self, read_list: ReadList[Row], positions: Sequence[int | None]) -> bool:
        """Returns whether any list has rows before the page: what a cursor stands for may have left the list."""
        newest = await asyncio.gather(*(read_list(shard, 1, None) for shard in range(len(positions))))
        return any(
            rows and position is not None and self._number(rows[0]) >= position
            for rows, position in zip(newest, positions, strict=True)
        )

    def _cursors(
        self, writer: ShardsCursorWriter, positions: dict[int, tuple[int, ...]], rows: Sequence[Row]
    ) -> list[str]:
        return [writer.of_positions(positions[self._number(row)]) for row in rows]


def _positions(given: Sequence[int] | None, shards: int) -> list[int | None]:
    """Returns the position in each list; None for the newest. All rows of shards that were added since are newer.

    Raises BadCursor for a cursor of a larger set.
    """
    if given is None:
        return [None] * shards
    if len(given) > shards:
        raise BadCursor("after is a cursor of more shards than there are")
    return [*given, *(shard * IDS_PER_SHARD + 1 for shard in range(len(given), shards))]
