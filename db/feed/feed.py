from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

import structlog

from db.errors import DatabaseError
from db.feed.changes import Change, Tail
from db.feed.follower import AfterArchived, AheadOfLedger, Diverged, Follower
from db.feed.reading import LedgerReader, LimitEvents
from db.feed.signals import Signals
from db.position import Position
from db.rows import TransactionRow

POLL_SECONDS: Final = 0.25
"""How long a row stays unseen if nobody announced it: it was written by hand, or its process died before it could."""
READ_ROWS: Final = 250
"""Rows of one account per read."""
READ_ACCOUNTS: Final = 50
"""Accounts per read."""
MAX_REPLAYS: Final = 4
"""Concurrent reads by followers that catch up. The limit leaves connections to requests."""
PATIENCE_SECONDS: Final = 1.0
"""How long reading a burst waits for slow followers before they fall behind."""
CROWDED_SECONDS: Final = 0.01
LOOKED_AT: Final = 5_000
"""Accounts whose heads are read at once."""

log = structlog.get_logger()


class ChangeFeed:
    """The lists of all followed accounts, read together."""

    def __init__(self, reader: LedgerReader, signals: Signals) -> None:
        self._reader = reader
        self._signals = signals
        self._tails: dict[int, Tail] = {}
        self._opening: dict[int, asyncio.Task[Tail | None]] = {}
        self._due: dict[int, float | None] = {}
        """Accounts that may have new rows, each with a deadline if a slow follower delays its reading."""
        self._reading: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None
        self._must_look = False
        self._replays = asyncio.Semaphore(MAX_REPLAYS)

    def announce(self, account_ids: Collection[int]) -> None:
        """Announces new rows. Must be called after every commit that posted rows."""
        self._signals.announce(account_ids)
        self._read_on(account_ids)

    async def follow(self, account_id: int, after: Position | None) -> Follower | None:
        """Returns a follower of the rows after `after`, or of the newest row and later ones. None if there is no such
        account.

        Raises AheadOfLedger, Diverged, and DatabaseError if the account cannot be read. If older rows must be read
        first, the position is compared then, and the follower raises Diverged.
        """
        tail = self._tails.get(account_id) or await self._opened(account_id)
        if tail is None:
            return None
        tail.followers += 1
        try:
            if after is not None and after.seq >= tail.newest.seq:
                after = await self._checked(tail, after)
            return Follower(self, tail, after)
        except BaseException:
            self.leave(tail)
            raise

    def end_of(self, is_gone: Callable[[int], bool]) -> None:
        """Ends the followers of accounts that were moved to another shard. They raise Lagged."""
        for tail in [tail for account_id, tail in self._tails.items() if is_gone(account_id)]:
            self._forget(tail)
            tail.end()

    def leave(self, tail: Tail) -> None:
        tail.followers -= 1
        if tail.followers == 0 and self._tails.get(tail.account_id) is tail:
            self._forget(tail)

    def _forget(self, tail: Tail) -> None:
        del self._tails[tail.account_id]
        self._due.pop(tail.account_id, None)

    async def replay(self, account_id: int, position: Position) -> list[TransactionRow] | None:
        """Returns rows after the position; None if the ledger diverged. Waits until the database can be reached.

        Raises AfterArchived.
        """
        while True:
            try:
                async with self._replays:
                    rows = await self._reader.following(account_id, position, READ_ROWS)
                    if rows is None and await self._reader.is_archived(account_id, position):
                        raise AfterArchived
                    return rows
            except DatabaseError as error:
                log.warning("rows not read yet", reason=str(error))
                await asyncio.sleep(POLL_SECONDS)

    async def limit_events(self, account_id: int, change: Change) -> LimitEvents:
        """Returns the spend limit events of the change's row and of later rows, which are read once for all followers.

        Waits until the database can be reached.
        """
        turns: asyncio.Lock = change.made.setdefault(asyncio.Lock, asyncio.Lock())
        while True:
            try:
                async with turns, self._replays:
                    found: LimitEvents | None = change.made.get(LimitEvents)
                    if found is None:
                        found = change.made[LimitEvents] = await self._reader.limit_events(account_id, change.seq)
                    return found
            except DatabaseError as error:
                log.warning("spend limit events not read yet", reason=str(error))
                await asyncio.sleep(POLL_SECONDS)

    async def close(self) -> None:
        tasks = [task for task in (self._reading, self._polling, *self._opening.values()) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._signals.close()

    async def _opened(self, account_id: int) -> Tail | None:
        """Returns the account's tail. Concurrent callers share one read."""
        opening = self._opening.get(account_id)
        if opening is None:
            opening = self._opening[account_id] = asyncio.get_running_loop().create_task(self._open(account_id))
            opening.add_done_callback(lambda _: self._opening.pop(account_id, None))
        return await asyncio.shield(opening)

    async def _open(self, account_id: int) -> Tail | None:
        async with self._replays:
            row = await self._reader.newest(account_id)
            if row is None and account_id not in await self._reader.heads([account_id]):
                return None
        tail = self._tails.get(account_id)
        if tail is None:
            tail = self._tails[account_id] = Tail(account_id, Change(row))
            # Rows that were posted since that read were announced to no tail.
            self._read_on([account_id])
            self._start()
        return tail

    async def _checked(self, tail: Tail, after: Position) -> Position:
        """Returns the position with its whole hash. Raises AheadOfLedger and Diverged."""
        found: bytes | None = tail.newest.hash
        if after.seq > tail.newest.seq:
            # Another process may have just posted the row.
            found = await self._reader.hash_of(tail.account_id, after.seq)
            if found is None:
                raise AheadOfLedger
            self._read_on([tail.account_id])
        if not after.is_at(found):
            raise Diverged
        return Position(after.seq, found)

    def _start(self) -> None:
        if self._polling is None:
            self._polling = asyncio.get_running_loop().create_task(self._poll())
            self._signals.listen(self._posted_elsewhere)

    def _posted_elsewhere(self, account_ids: Collection[int] | None) -> None:
        self._read_on(list(self._tails) if account_ids is None else account_ids)

    async def _poll(self) -> None:
        reached = True
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if not self._tails:
                continue
            try:
                self._must_look = await self._signals.may_have_moved() or self._must_look
                if self._must_look:
                    await self._look_at_heads()
                    self._must_look = False
            except DatabaseError as error:
                if reached:
                    log.warning("the ledger can't be followed at the moment", reason=str(error))
                reached = False
            else:
                reached = True

    async def _look_at_heads(self) -> None:
        followed = list(self._tails.values())
        for start in range(0, len(followed), LOOKED_AT):
            # A tail may read more rows while the heads are read, so compare them with its earlier position.
            before = [(tail, tail.position) for tail in followed[start : start + LOOKED_AT]]
            heads = await self._reader.heads([tail.account_id for tail, _ in before])
            for tail, position in before:
                if self._tails.get(tail.account_id) is tail:
                    self._compare(tail, position, heads.get(tail.account_id))

    def _compare(self, tail: Tail, position: Position, head: Position | None) -> None:
        if head is None or head.seq < position.seq or (head.seq == position.seq and head != position):
            self._diverged(tail)
        elif head.seq > tail.newest.seq:
            self._read_on([tail.account_id])

    def _diverged(self, tail: Tail) -> None:
        """Ends the tail. New followers read the account again."""
        log.warning("the ledger no longer has rows that were sent", account=tail.account_id, seq=tail.newest.seq)
        self._forget(tail)
        tail.diverge()

    def _read_on(self, account_ids: Collection[int]) -> None:
        for account_id in account_ids:
            if account_id in self._tails:
                self._due.setdefault(account_id, None)
        if self._due and (self._reading is None or self._reading.done()):
            self._reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        while self._due:
            positions = self._ready()
            if not positions:
                await asyncio.sleep(CROWDED_SECONDS)
                continue
            try:
                found = await self._reader.following_each(positions, READ_ROWS)
            except DatabaseError as error:
                log.warning("new rows not read yet", reason=str(error))
                self._read_on(positions)
                await asyncio.sleep(POLL_SECONDS)
                continue
            for account_id, rows in found.items():
                self._publish(account_id, positions[account_id], rows)
            await asyncio.sleep(0)

    def _ready(self) -> dict[int, Position]:
        """Returns the accounts to read next, with their positions. A signal after this makes them due again."""
        now = asyncio.get_running_loop().time()
        ready: dict[int, Position] = {}
        for account_id, deadline in list(self._due.items()):
            tail = self._tails.get(account_id)
            if tail is not None and tail.is_crowded and (deadline is None or now < deadline):
                self._due[account_id] = deadline or now + PATIENCE_SECONDS
                continue
            del self._due[account_id]
            if tail is not None:
                ready[account_id] = tail.position
            if len(ready) == READ_ACCOUNTS:
                break
        return ready

    def _publish(self, account_id: int, after: Position, rows: list[TransactionRow] | None) -> None:
        """Publishes the rows. `rows` is None if the ledger has another row at `after`."""
        tail = self._tails.get(account_id)
        if tail is None or rows == []:
            return
        if tail.position == after:
            if rows is None:
                self._diverged(tail)
                return
            tail.publish(rows)
        # Otherwise all followers left and new ones came during the read.
        if rows is None or tail.newest.seq < rows[-1].seq or len(rows) == READ_ROWS:
            self._read_on([account_id])
