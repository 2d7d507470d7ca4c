"""Slots for reading operations: how many run at the same time, for each key, each account and in all.

Operations beyond that wait in a queue of each key. A slot that becomes free goes to the keys in turn, so that a key
with a long queue does not delay the others. A full queue refuses at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple


class Claim(NamedTuple):
    """Key and account whose slots an operation takes, and whether the operation is heavy."""

    key: str
    account: int | None
    """None for a key that has no account of its own."""
    is_heavy: bool


class SlotLimits(NamedTuple):
    """Operations that may run at the same time. Keys without an account of their own may use all slots."""

    total: int
    of_key: int
    of_account: int
    heavy_of_key: int
    heavy_of_account: int
    queue: int
    """Operations of a key that may wait."""
    wait_seconds: float


class QueueFull(Exception):
    """The key has as many waiting operations as it may have, or one has waited too long."""


class Slots:
    def __init__(self, limits: SlotLimits, count_refusal: Callable[[], None] = lambda: None) -> None:
        self._limits = limits
        self._count_refusal = count_refusal
        self._running: Counter[object] = Counter()
        self._waiting: OrderedDict[str, deque[tuple[Claim, asyncio.Future[None]]]] = OrderedDict()

    @property
    def running(self) -> int:
        return self._running["total"]

    @property
    def waiting(self) -> int:
        return sum(len(queue) for queue in self._waiting.values())

    @contextlib.asynccontextmanager
    async def taken(self, claim: Claim) -> AsyncIterator[None]:
        """Raises QueueFull."""
        if self._fits(claim):  # none of those that wait does
            self._take(claim)
        else:
            await self._wait(claim)
        try:
            yield
        finally:
            self._give_back(claim)

    async def _wait(self, claim: Claim) -> None:
        if len(self._waiting.get(claim.key, ())) >= self._limits.queue:
            raise self._refusal("too many operations of this key are waiting")
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(claim.key, deque()).append((claim, turn))
        try:
            async with asyncio.timeout(self._limits.wait_seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._give_back(claim)  # the slot was given in the moment in which the wait ended
            else:
                self._leave(claim, turn)
            if isinstance(error, TimeoutError):
                raise self._refusal("the operation waited too long for its turn") from error
            raise

    def _refusal(self, reason: str) -> QueueFull:
        self._count_refusal()
        return QueueFull(reason)

    def _leave(self, claim: Claim, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(claim.key)
        if queue is not None:
            with contextlib.suppress(ValueError):
                queue.remove((claim, turn))
            if not queue:
                del self._waiting[claim.key]
        self._hand_out()

    def _fits(self, claim: Claim) -> bool:
        running, limits, account = self._running, self._limits, claim.account
        if running["total"] >= limits.total or (claim.is_heavy and running["heavy", claim.key] >= limits.heavy_of_key):
            return False
        if account is None:
            return True
        if running[claim.key] >= limits.of_key or running["account", account] >= limits.of_account:
            return False
        return not claim.is_heavy or running["heavy account", account] < limits.heavy_of_account

    def _count(self, claim: Claim, change: int) -> None:
        counted: list[object] = ["total", claim.key]
        if claim.account is not None:
            counted.append(("account", claim.account))
        if claim.is_heavy:
            counted.append(("heavy", claim.key))
            if claim.account is not None:
                counted.append(("heavy account", claim.account))
        for one in counted:
            self._running[one] += change
            if not self._running[one]:
                del self._running[one]

    def _take(self, claim: Claim) -> None:
        self._count(claim, 1)

    def _give_back(self, claim: Claim) -> None:
        self._count(claim, -1)
        if self._waiting:
            self._hand_out()

    def _hand_out(self) -> None:
        """Gives free slots to the keys that wait, each one in turn."""
        for key in list(self._waiting):
            queue = self._waiting[key]
            given = next((one for one in queue if not one[1].done() and self._fits(one[0])), None)
            if given is None:
                continue
            queue.remove(given)
            self._take(given[0])
            given[1].set_result(None)
            if queue:
                self._waiting.move_to_end(key)
            else:
                del self._waiting[key]
