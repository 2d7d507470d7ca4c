"""Group commit: calls that wait at the same time share one read, one write statement and one commit. PostgreSQL only.

The calls share round trips, not outcomes. Each call is computed by itself. If a call is refused, its changes are
removed from the states before the next call. If another transaction posted to a call's account in the meantime, the
call is not written and is tried again. No call is answered before the commit, not even a refusal: a refusal may depend
on a row of the same group.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from contextvars import Context
from random import uniform
from typing import Final

from db.connections.engines import POSTING_CONNECTIONS
from db.database import Database
from db.errors import DatabaseUnavailable, LockUnavailable, TransactionConflict, translated
from db.posting.postgresql import keep_unlocked, open_unlocked
from db.posting.state import PostingKeys
from ledger.batches import AccountStates, Batch
from ledger.clock_watch import ClockWatch
from ledger.commands import Outcome
from ledger.errors import BillingError

_SLOW_SECONDS: Final = 0.05
"""How long a group may be in progress until another one begins beside it."""
_GATHER_TURNS: Final = 4
"""Turns of the event loop in which another call must come, so that a group waits for more."""
_GATHER_SECONDS: Final = 0.01
_MAX_TRIES: Final = 5
_FIRST_PAUSE_SECONDS: Final = 0.002
_MAX_GROUP: Final = 64
_MAX_COMMANDS: Final = 256
"""Maximum number of commands in a group. A call with more forms its own group."""
_MAX_PASSED_OVER: Final = 256
"""Maximum number of calls to pass over: calls that wait for a busy account are examined again for each group."""


class _Waiting:
    __slots__ = ("answer", "batch", "tries")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.answer: asyncio.Future[list[Outcome] | None] = asyncio.get_running_loop().create_future()
        self.tries = 0

    def give(self, answer: list[Outcome] | BaseException | None) -> None:
        if self.answer.done():
            return
        if isinstance(answer, BaseException):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)


class GroupCommit:
    def __init__(
        self, database: Database, max_slots: int = POSTING_CONNECTIONS, watch: ClockWatch | None = None
    ) -> None:
        """At most `max_slots` groups are in progress at the same time.

        A group costs the process and the database far more than a call in it, so calls wait for the group in progress
        and are posted together. Another one begins beside it only if it is slow: it may be large, or its commit may
        wait for a standby.
        """
        self._database = database
        self._watch = watch or ClockWatch()
        self._max_slots = max_slots
        self._waiting: deque[_Waiting] = deque()
        self._busy: set[int] = set()
        """Accounts of the groups in progress."""
        self._began: dict[object, float] = {}
        """When each group in progress began, by the clock of the event loop."""
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._other_shards: Sequence[GroupCommit] = ()

    def join(self, shards: Sequence[GroupCommit]) -> None:
        """Tells this group commit of those of all shards. They share the process, so that small groups for several
        shards cost it more than one large group for each."""
        self._other_shards = [one for one in shards if one is not self]

    async def post(self, batch: Batch) -> list[Outcome] | None:
        """Posts the batch. Returns None if the batch must be posted under the locks of its accounts.

        This is so if one of its calls is a replay, if other transactions posted to its accounts at each try, or if its
        group could not be written.
        """
        waiting = _Waiting(batch)
        self._let_wait(waiting)
        return await waiting.answer

    def _let_wait(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        # If the account is busy, the group that frees it starts the next group.
        if self._busy.isdisjoint(waiting.batch.account_ids):
            self._begin()

    def _begin(self) -> None:
        if self._may_begin():
            slot = object()
            self._began[slot] = asyncio.get_running_loop().time()
            task = asyncio.create_task(self._work(slot), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _may_begin(self) -> bool:
        """Returns whether a group may begin now: if no other is in progress, or the newest one is slow."""
        if not self._began:
            return True
        if asyncio.get_running_loop().time() < self._slow_at:
            self._begin_later()
            return False
        return len(self._began) < self._max_slots

    @property
    def _slow_at(self) -> float:
        """When the newest group in progress is slow."""
        return max(self._began.values()) + _SLOW_SECONDS

    def _begin_later(self) -> None:
        """Begins a group when the newest one is slow, if calls wait then."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(self._slow_at, self._begin_beside)

    def _begin_beside(self) -> None:
        self._timer = None
        if self._waiting:
            self._begin()

    async def _work(self, slot: object) -> None:
        """Posts one group after the other while calls wait and a group may begin."""
        try:
            while group := await self._gathered():
                if self._waiting:
                    # They are not in this group, and must not wait for its end if it is slow.
                    self._begin_later()
                account_ids = {account_id for one in group for account_id in one.batch.account_ids}
                self._busy |= account_ids
                try:
                    await self._post(group, account_ids)
                finally:
                    self._busy -= account_ids
                del self._began[slot]
                if not self._may_begin():
                    return
                self._began[slot] = asyncio.get_running_loop().time()
        finally:
            # Free the slot here, not when the task is done: a call that arrives in between would never be started.
            self._began.pop(slot, None)

    async def _gathered(self) -> list[_Waiting]:
        """Returns the next group. While a group of another shard is in progress, waits for calls that arrive at this
        moment: the other group keeps the process and a database busy. With one shard, both would be idle."""
        if any(one._began for one in self._other_shards):  # noqa: SLF001  the same class
            loop = asyncio.get_running_loop()
            until, count = loop.time() + _GATHER_SECONDS, 0
            while count < len(self._waiting) < _MAX_GROUP and loop.time() < until:
                count = len(self._waiting)
                for _ in range(_GATHER_TURNS):
                    await asyncio.sleep(0)
        return self._next_group()

    def _next_group(self) -> list[_Waiting]:
        """Returns the calls that have waited longest. Skips calls on busy accounts; calls on one account keep their
        order."""
        group: list[_Waiting] = []
        passed_over: list[_Waiting] = []
        blocked = self._busy.copy()
        commands = 0
        while self._waiting and len(group) < _MAX_GROUP and len(passed_over) < _MAX_PASSED_OVER:
            one = self._waiting.popleft()
            if one.answer.done():
                continue
            batch = one.batch
            is_own_group = len(batch.account_ids) > 1 or batch.size > _MAX_COMMANDS
            fits = not group or (not is_own_group and commands + batch.size <= _MAX_COMMANDS)
            if not fits or not blocked.isdisjoint(batch.account_ids):
                blocked |= batch.account_ids
                passed_over.append(one)
                continue
            group.append(one)
            commands += batch.size
            if is_own_group:
                break
        self._waiting.extendleft(reversed(passed_over))
        return group

    async def _post(self, group: Sequence[_Waiting], account_ids: set[int]) -> None:
        """Answers all calls of the group except those that must be tried again."""
        try:
            with translated():
                answers, held, posted = await self._changes(group, account_ids)
        except BaseException as error:
            _fail(group, error)
            if not isinstance(error, Exception):
                raise
            return
        self._database.note_posted(posted)
        for one, answer in zip(group, answers, strict=True):
            if one.batch.account_ids <= held:
                one.give(answer)
            else:
                self._try_again(one)

    def _try_again(self, waiting: _Waiting) -> None:
        """Tries again after a pause, when the other transaction has probably committed."""
        waiting.tries += 1
        if waiting.tries == _MAX_TRIES:
            waiting.give(None)
            return
        pause = _FIRST_PAUSE_SECONDS * 2 ** (waiting.tries - 1) * uniform(0.5, 1.5)  # noqa: S311  avoids meeting again
        asyncio.get_running_loop().call_later(pause, self._let_wait, waiting)

    async def _changes(
        self, group: Sequence[_Waiting], account_ids: set[int]
    ) -> tuple[list[list[Outcome] | BillingError | None], set[int], Counter[int]]:
        """Returns each call's outcome, the accounts that nobody else changed, and how many rows each of them got."""
        async with self._database.lent() as connection:
            keys = PostingKeys.together(one.batch.keys for one in group)
            stored = await open_unlocked(connection, keys, group[0].batch.now(), self._watch.clock)
            self._watch.check(stored.clock)
            states = AccountStates(stored)
            answers = [await _outcome(one.batch, states) for one in group]
            changes = states.changes()
            stale: set[int] = set()
            if changes.heads:  # pragma: no branch  the end of `async with`
                held = await keep_unlocked(connection, stored, changes, together=len(group) == 1)
                stale = {head.id for head in changes.heads}.difference(held)
        posted = changes.rows_by_account
        for account_id in stale:
            del posted[account_id]
        return answers, account_ids - stale, posted


async def _outcome(batch: Batch, states: AccountStates) -> list[Outcome] | BillingError | None:
    if batch.has_known_call(states.calls):
        return None
    mark = states.mark(batch.account_ids)
    try:
        return await batch.carry_out(states)
    except BillingError as refusal:
        states.undo(mark)
        return refusal


def _fail(group: Sequence[_Waiting], error: BaseException) -> None:
    """Answers the calls of a group that failed.

    If the database refused the write, nothing of the group was written: each call is then posted by itself, so that one
    call does not make the others fail. If the database is unavailable, the outcome is unknown and each call gets the
    error.
    """
    is_undone = not isinstance(error, DatabaseUnavailable) or isinstance(error, LockUnavailable | TransactionConflict)
    for one in group:
        if not isinstance(error, Exception):
            one.answer.cancel()
        else:
            one.give(None if is_undone and len(group) > 1 else error)
