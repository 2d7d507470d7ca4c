"""Posting: the only way to write ledger rows.

The stored state of a call's accounts is read (`db/posting`). The commands are carried out in memory (`ledger/rules.py`)
on an account state for each account (`ledger/account_state.py`). Then rows, heads, holds, charges and monthly figures
are written: all of them or none. On PostgreSQL, calls that wait at the same time share a commit
(`ledger/group_commit.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import uniform
from typing import Final, TypeVar

from db.clocks import limit_lock_waits
from db.clocks import utc_now as utc_now
from db.connections.snapshots import Snapshot
from db.database import Database, WriteConnection
from db.errors import LockUnavailable, TransactionConflict
from db.posting import keep_locked, open_locked
from db.writes import lock_accounts
from ledger.batches import AccountStates, Batch
from ledger.batches import Clock as Clock
from ledger.clock_watch import ClockWatch
from ledger.commands import Outcome, Posting
from ledger.errors import NotFound
from ledger.group_commit import GroupCommit
from ledger.ids import account_id_text
from ledger.turns import Turns

MAX_TRIES: Final = 3
_LOCK_SECONDS: Final = 0.02
"""How long a transaction waits for a lock before it gives its connection back and tries again."""
_FIRST_PAUSE_SECONDS: Final = 0.01
_LONGEST_PAUSE_SECONDS: Final = 0.5


Result = TypeVar("Result")


async def _posted(connection: WriteConnection, batch: Batch, watch: ClockWatch) -> list[Outcome]:
    stored = await open_locked(connection, batch.keys, batch.now(), watch.clock)
    watch.check(stored.clock)
    states = AccountStates(stored)
    outcomes = await batch.carry_out(states, connection)
    await keep_locked(connection, stored, states.changes())
    return outcomes


async def post(
    connection: WriteConnection, postings: Sequence[Posting], clock: Clock = utc_now, watch: ClockWatch | None = None
) -> list[Outcome]:
    """Carries out the postings in order and returns their outcomes in the same order.

    Rows get their time from `clock`. The clock in `watch`, this machine's, is compared with the database's. Raises
    ClockWrong, Forbidden, BadUserInput, NotFound, Conflict, IdempotencyConflict or InsufficientBalance. The caller must
    then roll back the transaction, as `Ledger.post` does.
    """
    return await _posted(connection, Batch(postings, clock), watch or ClockWatch())


class LedgerTransaction:
    """The ledger within one transaction of the database."""

    def __init__(self, connection: WriteConnection, clock: Clock, watch: ClockWatch) -> None:
        self.connection = connection
        self.clock = clock
        self._watch = watch

    def snapshot(self) -> Snapshot:
        """Returns a snapshot that includes what was written so far. If it has a `failure` afterwards, roll back."""
        return Database.snapshot_within(self.connection)

    async def post(self, *postings: Posting) -> list[Outcome]:
        """Posts as the function `post` does. If it raises, the transaction must be rolled back."""
        return await post(self.connection, postings, self.clock, self._watch)


Work = Callable[[LedgerTransaction], Awaitable[Result]]


class Ledger:
    """Posts in its own transactions."""

    def __init__(self, database: Database, clock: Clock = utc_now, watch: ClockWatch | None = None) -> None:
        """Rows get their time from `clock`, which may be simulated. `watch` has this machine's clock."""
        self._database = database
        self._clock = clock
        self._watch = watch or ClockWatch()
        self._group_commit = GroupCommit(database, watch=self._watch)
        self._turns = Turns(database.lock_timeout_seconds)
        self._shards: Sequence[Ledger] = (self,)

    def join(self, shards: Sequence[Ledger]) -> None:
        """Tells the ledger of those of all shards, in their order."""
        self._shards = shards
        self._group_commit.join([one._group_commit for one in shards])  # noqa: SLF001  the same class

    def of_shard(self, number: int) -> Ledger:
        """Returns the ledger of the shard. Of a shard that does not exist, shard 0 finds no account."""
        place = self._database.place
        if place is not None and len(self._shards) == 1:
            databases = place.shards.databases
            shards = [self if one is self._database else Ledger(one, self._clock, self._watch) for one in databases]
            for ledger in shards:
                ledger.join(shards)
        return self._shards[number if number < len(self._shards) else 0]

    def of_account(self, account_id: int) -> Ledger:
        """Returns the ledger of the account's shard, as far as is known: there, an account that was moved is not
        found (`has_moved`)."""
        place = self._database.place
        return self if place is None else self.of_shard(place.shards.moved.shard_of(account_id))

    async def find_shard(self, account_id: int) -> int | None:
        """Looks for the shard of an account. None without shards. Raises DatabaseError."""
        place = self._database.place
        return None if place is None else await place.shards.moved.find(account_id)

    async def has_moved(self, account_id: int) -> bool:
        """Returns whether an account that this ledger did not find has another one, or has just come here. Raises
        DatabaseError."""
        place = self._database.place
        if place is None:
            return False
        version = place.shards.moved.version
        number = await place.shards.moved.find(account_id)
        return number != place.number or place.shards.moved.version != version

    async def post(self, *postings: Posting) -> list[Outcome]:
        batch = Batch(postings, self._clock)
        outcomes = await self._shared(batch)
        return await self._post_locked(batch) if outcomes is None else outcomes

    async def post_shared(self, *postings: Posting) -> list[Outcome] | None:
        """Posts in one commit with other waiting calls. Returns None if nothing was posted because the postings need a
        transaction of their own."""
        return await self._shared(Batch(postings, self._clock))

    async def _shared(self, batch: Batch) -> list[Outcome] | None:
        # SQLite has only one writer, so there is no commit to share.
        return await self._group_commit.post(batch) if self._database.is_postgresql else None

    async def _post_locked(self, batch: Batch) -> list[Outcome]:
        async def work(transaction: LedgerTransaction) -> list[Outcome]:
            return await _posted(transaction.connection, batch, self._watch)

        return await self.within(work, batch.account_ids)

    async def within(
        self, work: Work[Result], account_ids: Collection[int] = (), *, patience_seconds: float | None = None
    ) -> Result:
        """Does the work in a transaction and returns its result after the commit.

        The work may be run again, so it must have no effect outside the transaction. `account_ids` are the accounts
        that it locks, as far as they are known: calls on one account take turns.
        """
        async with self.open_transaction(work, account_ids, patience_seconds=patience_seconds) as (_, result):
            return result

    @asynccontextmanager
    async def open_transaction(
        self, work: Work[Result], account_ids: Collection[int] = (), *, patience_seconds: float | None = None
    ) -> AsyncIterator[tuple[LedgerTransaction, Result]]:
        """Does the work and leaves its transaction open for reads in the block. Commits at the end of the block.

        The work is run again after a conflict with another transaction; the block is not. No connection is held while
        waiting for a lock, because other calls may need it. Raises LockUnavailable if the lock is not free within
        `patience_seconds` (None means the lock timeout from the settings), and TransactionConflict after `MAX_TRIES`.
        """
        async with AsyncExitStack() as ends:
            await self._take_turn(ends, account_ids)
            patience = self._database.lock_timeout_seconds if patience_seconds is None else patience_seconds
            yield await self._begin(work, account_ids, ends, asyncio.get_running_loop().time() + patience)

    async def _take_turn(self, ends: AsyncExitStack, account_ids: Collection[int]) -> None:
        must_wait = self._turns.are_taken(account_ids)
        began = asyncio.get_running_loop().time()
        try:
            await ends.enter_async_context(self._turns.taken(account_ids))
        finally:
            if must_wait:
                self._database.figures.note_lock_wait(asyncio.get_running_loop().time() - began)

    async def _hold_here(self, connection: WriteConnection, account_ids: Collection[int]) -> None:
        """Locks accounts that may leave this shard at any time: some work locks only rows that it changes. Raises
        NotFound if one has left."""
        place = self._database.place
        if place is None:
            return
        leaving = [one for one in account_ids if place.shards.moved.has_announced(one, place.number)]
        missing = set(leaving) - (await lock_accounts(connection, leaving)).keys() if leaving else None
        if missing:
            msg = f"there is no account {account_id_text(min(missing))}"
            raise NotFound(msg)

    async def _begin(
        self, work: Work[Result], account_ids: Collection[int], ends: AsyncExitStack, until: float
    ) -> tuple[LedgerTransaction, Result]:
        pause, conflicts = _FIRST_PAUSE_SECONDS, 0
        while True:
            began = asyncio.get_running_loop().time()
            try:
                async with AsyncExitStack() as attempt:
                    connection = await attempt.enter_async_context(self._database.write())
                    if self._database.is_postgresql:
                        self._watch.check(await limit_lock_waits(connection, _LOCK_SECONDS, self._watch.clock))
                    transaction = LedgerTransaction(connection, self._clock, self._watch)
                    await self._hold_here(connection, account_ids)
                    result = await work(transaction)
                    ends.push_async_exit(attempt.pop_all())
                    return transaction, result
            except TransactionConflict:
                conflicts += 1
                if conflicts == MAX_TRIES:
                    raise
            except LockUnavailable:
                if asyncio.get_running_loop().time() + pause > until:
                    raise
            await asyncio.sleep(pause * uniform(0.5, 1.5))  # noqa: S311  so that two don't meet again
            self._database.figures.note_lock_wait(asyncio.get_running_loop().time() - began)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
