"""Slots for reading operations: how many run at the same time, for each key, each account and in all.

Operations beyond that wait in a queue of each key (`gateway/fair_queue.py`). A full queue refuses at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from enum import Enum, auto
from typing import NamedTuple

from gateway.fair_queue import FairQueue


class Kind(Enum):
    """A kind of operation: a key and an account run few of each kind but light ones at the same time."""

    LIGHT = auto()
    HEAVY = auto()
    EXPORT_STEP = auto()


class Claim(NamedTuple):
    """Key and account whose slots an operation takes, and its kind."""

    key: str
    account: int | None
    """None for a key that has no account of its own."""
    kind: Kind = Kind.LIGHT


class Share(NamedTuple):
    """Operations of a kind that may run at the same time."""

    of_key: int
    of_account: int


class SlotLimits(NamedTuple):
    """Operations that may run at the same time. Keys without an account of their own may use all slots."""

    total: int
    of_key: int
    of_account: int
    of_kind: Mapping[Kind, Share]
    """Shares of kinds that have one."""
    queue: int
    """Operations of a key that may wait."""
    wait_seconds: float


class QueueFull(Exception):
    """The key has as many waiting operations as it may have, or one has waited too long."""


class Slots(FairQueue[str, Claim]):
    def __init__(self, limits: SlotLimits, count_refusal: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._limits = limits
        self._count_refusal = count_refusal
        self._running: Counter[object] = Counter()

    @property
    def running(self) -> int:
        return self._running["total"]

    @contextlib.asynccontextmanager
    async def taken(self, claim: Claim) -> AsyncIterator[None]:
        """Raises QueueFull."""
        if not self._enters(claim.key, claim):
            await self._wait_briefly(claim)
        try:
            yield
        finally:
            self._leave(claim)

    async def _wait_briefly(self, claim: Claim) -> None:
        if self._waiting_of(claim.key) >= self._limits.queue:
            raise self._refusal("too many operations of this key are waiting")
        try:
            async with asyncio.timeout(self._limits.wait_seconds):
                await self._wait(claim.key, claim)
        except TimeoutError as error:
            raise self._refusal("the operation waited too long for its turn") from error

    def _refusal(self, reason: str) -> QueueFull:
        self._count_refusal()
        return QueueFull(reason)

    def _may_fit(self, _key: str) -> bool:
        return self._running["total"] < self._limits.total

    def _fits(self, claim: Claim) -> bool:
        running, limits, account, kind = self._running, self._limits, claim.account, claim.kind
        share = limits.of_kind.get(kind)
        if share is not None and running[kind, claim.key] >= share.of_key:
            return False
        if account is None:
            return True
        if running[claim.key] >= limits.of_key or running["account", account] >= limits.of_account:
            return False
        return share is None or running[kind, "account", account] < share.of_account

    def _count(self, claim: Claim, change: int) -> None:
        counted: list[object] = ["total", claim.key, (claim.kind, claim.key)]
        if claim.account is not None:
            counted += [("account", claim.account), (claim.kind, "account", claim.account)]
        for one in counted:
            self._running[one] += change
            if not self._running[one]:
                del self._running[one]
