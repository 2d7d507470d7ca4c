"""The one way in which ledger rows are written.

What the accounts of a call are found to be is read (`db/posting`), its commands are carried out in memory
(`ledger/rules.py`) on a state for each account (`ledger/account_state.py`), and rows, heads, holds, charges and
monthly figures are kept: all of it or nothing. On PostgreSQL, calls that wait at the same time share a commit
(`ledger/group_commit.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import uniform
from typing import Final, TypeVar

from db.clocks import lock_briefly
from db.clocks import utc_now as utc_now
from db.connections.snapshots import Snapshot
from db.database import Database, WriteConnection
from db.errors import LockUnavailable, TransactionConflict
from db.posting import keep_locked, open_locked
from ledger.batches import AccountStates, Batch
from ledger.batches import Clock as Clock
from ledger.clock_watch import ClockWatch
from ledger.commands import Outcome, Posting
from ledger.group_commit import GroupCommit
from ledger.turns import Turns

MAX_TRIES: Final = 3
_LOCK_SECONDS: Final = 0.02
"""How long a transaction waits for a lock before it gives its connection back and comes again."""
_FIRST_PAUSE_SECONDS: Final = 0.01
_LONGEST_PAUSE_SECONDS: Final = 0.5


Result = TypeVar("Result")


async def _posted(connection: WriteConnection, batch: Batch, watch: ClockWatch) -> list[Outcome]:
    stored = await open_locked(connection, batch.keys, watch.clock)
    watch.check(stored.clock)
    states = AccountStates(stored)
    outcomes = await batch.carried_out(states, connection)
    await keep_locked(connection, stored, states.changes())
    return outcomes


async def post(
    connection: WriteConnection, postings: Sequence[Posting], clock: Clock = utc_now, watch: ClockWatch | None = None
) -> list[Outcome]:
    """Carries out the postings in their sequence; the outcomes have the same sequence.

    The rows get their time from `clock`. What is compared with the database's clock is this machine's, in `watch`.
    Raises ClockWrong, Forbidden, BadUserInput, NotFound, Conflict, IdempotencyConflict or InsufficientBalance. The
    caller's transaction must then be rolled back: `Ledger.post` does.
    """
    return await _posted(connection, Batch(postings, clock), watch or ClockWatch())


class LedgerTransaction:
    """The ledger within one transaction of the database."""

    def __init__(self, connection: WriteConnection, clock: Clock, watch: ClockWatch) -> None:
        self.connection = connection
        self.clock = clock
        self._watch = watch

    def snapshot(self) -> Snapshot:
        """Reads what was done so far. Where it has a `failure` afterwards, the transaction must not be kept."""
        return Database.snapshot_within(self.connection)

    async def post(self, *postings: Posting) -> list[Outcome]:
        """As `post` above; whatever it raises, the transaction must be rolled back."""
        return await post(self.connection, postings, self.clock, self._watch)


Work = Callable[[LedgerTransaction], Awaitable[Result]]


class Ledger:
    """Posts in transactions of its own."""

    def __init__(self, database: Database, clock: Clock = utc_now, watch: ClockWatch | None = None) -> None:
        """The rows get their time from `clock`, which may be a simulated one; `watch` has this machine's."""
        self._database = database
        self._clock = clock
        self._watch = watch or ClockWatch()
        self._group_commit = GroupCommit(database, watch=self._watch)
        self._turns = Turns(database.lock_timeout_seconds)

    async def post(self, *postings: Posting) -> list[Outcome]:
        batch = Batch(postings, self._clock)
        outcomes = await self._shared(batch)
        return await self._post_locked(batch) if outcomes is None else outcomes

    async def post_shared(self, *postings: Posting) -> list[Outcome] | None:
        """Posts them with the calls that wait beside them, or not at all: None where they must be posted in a
        transaction of their own."""
        return await self._shared(Batch(postings, self._clock))

    async def _shared(self, batch: Batch) -> list[Outcome] | None:
        # SQLite has one writer: there is no commit to share.
        return await self._group_commit.post(batch) if self._database.is_postgresql else None

    async def _post_locked(self, batch: Batch) -> list[Outcome]:
        async def work(transaction: LedgerTransaction) -> list[Outcome]:
            return await _posted(transaction.connection, batch, self._watch)

        return await self.within(work, batch.account_ids)

    async def within(
        self, work: Work[Result], account_ids: Collection[int] = (), *, patience_seconds: float | None = None
    ) -> Result:
        """What the work came to, committed. It must do nothing outside the transaction: it may be begun again.

        `account_ids` are the accounts that it locks, as far as they are known: calls on them take turns.
        """
        async with self.left_open(work, account_ids, patience_seconds=patience_seconds) as (_, result):
            return result

    @asynccontextmanager
    async def left_open(
        self, work: Work[Result], account_ids: Collection[int] = (), *, patience_seconds: float | None = None
    ) -> AsyncIterator[tuple[LedgerTransaction, Result]]:
        """Does the work and leaves its transaction open for the block to read in; committed at the block's end.

        Work that another transaction was in the way of is begun anew; what the block raises is not. While a lock is
        waited for no connection is held: the others may need it. Raises LockUnavailable where that takes longer than
        `patience_seconds`, the setting for locks if it is None, and TransactionConflict after `MAX_TRIES`.
        """
        async with AsyncExitStack() as ends:
            await ends.enter_async_context(self._turns.taken(account_ids))
            patience = self._database.lock_timeout_seconds if patience_seconds is None else patience_seconds
            yield await self._begun(work, ends, asyncio.get_running_loop().time() + patience)

    async def _begun(self, work: Work[Result], ends: AsyncExitStack, until: float) -> tuple[LedgerTransaction, Result]:
        pause, conflicts = _FIRST_PAUSE_SECONDS, 0
        while True:
            try:
                async with AsyncExitStack() as attempt:
                    connection = await attempt.enter_async_context(self._database.write())
                    if self._database.is_postgresql:
                        self._watch.check(await lock_briefly(connection, _LOCK_SECONDS, self._watch.clock))
                    transaction = LedgerTransaction(connection, self._clock, self._watch)
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
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
