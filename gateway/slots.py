"""Slots for reading operations: how many run at the same time, for each key, each account and in all.

Operations beyond that wait in a queue of each key (`gateway/fair_queue.py`). A full queue refuses at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
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

    @property
    def customer(self) -> Hashable:
        return self.key if self.account is None else self.account


class Share(NamedTuple):
    """Operations of a kind that may run at the same time."""

    of_key: int
    of_account: int
    beside_others: int
    """For a key, and for an account, while other customers are active."""
    of_process: int


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
    def __init__(
        self,
        limits: SlotLimits,
        count_refusal: Callable[[], None] = lambda: None,
        is_alone: Callable[[Hashable], bool] = lambda _: True,
    ) -> None:
        """`is_alone` returns whether no customer but this one is active (`gateway/activity.py`)."""
        super().__init__()
        self._limits = limits
        self._count_refusal = count_refusal
        self._is_alone = is_alone
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
        share = self._limits.of_kind.get(claim.kind)
        if share is not None and not self._fits_share(claim, share):
            return False
        account = claim.account
        if account is None:
            return True
        running, limits = self._running, self._limits
        return running[claim.key] < limits.of_key and running["account", account] < limits.of_account

    def _fits_share(self, claim: Claim, share: Share) -> bool:
        running, kind, account = self._running, claim.kind, claim.account
        most = share.of_process if self._is_alone(claim.customer) else share.beside_others
        return (
            running[kind] < share.of_process
            and running[kind, claim.key] < min(share.of_key, most)
            and (account is None or running[kind, "account", account] < min(share.of_account, most))
        )

    def _count(self, claim: Claim, change: int) -> None:
        counted: list[object] = ["total", claim.key, claim.kind, (claim.kind, claim.key)]
        if claim.account is not None:
            counted += [("account", claim.account), (claim.kind, "account", claim.account)]
        for one in counted:
            self._running[one] += change
            if not self._running[one]:
                del self._running[one]
