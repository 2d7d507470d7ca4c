"""Queue of claims for places, by key: keys get a free place in turn, however many claims of one wait."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
C = TypeVar("C")


class FairQueue(ABC, Generic[K, C]):
    """Claims that do not fit wait. Subclasses count those that have a place, and say which fit beside them."""

    def __init__(self) -> None:
        self.waiting = 0
        self._waiting: OrderedDict[K, deque[tuple[C, asyncio.Future[None]]]] = OrderedDict()

    @abstractmethod
    def _may_fit(self, key: K) -> bool:
        """Returns whether any claim of the key may fit: if not, its queue is not searched."""

    @abstractmethod
    def _fits(self, claim: C) -> bool: ...

    @abstractmethod
    def _count(self, claim: C, change: int) -> None: ...

    def _enters(self, key: K, claim: C) -> bool:
        """Takes a place if the claim fits: none of those that wait does."""
        fits = self._may_fit(key) and self._fits(claim)
        if fits:
            self._count(claim, 1)
        return fits

    def _waiting_of(self, key: K) -> int:
        return len(self._waiting.get(key, ()))

    async def _wait(self, key: K, claim: C) -> None:
        """Returns when the claim has its place."""
        one = claim, asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(one)
        self.waiting += 1
        try:
            await one[1]
        except BaseException:
            if one[1].cancelled():
                self._remove(key, one)
            else:
                self._leave(claim)  # the place was given in the moment in which the wait ended
            raise

    def _remove(self, key: K, one: tuple[C, asyncio.Future[None]]) -> None:
        queue = self._waiting[key]
        queue.remove(one)
        self.waiting -= 1
        if not queue:
            del self._waiting[key]

    def _leave(self, claim: C) -> None:
        """Gives the place back. The key that gets it is the last to get another."""
        self._count(claim, -1)
        for key in list(self._waiting):
            given = self._first(key)
            if given is not None:
                self._waiting.move_to_end(key)
                self._remove(key, given)
                self._count(given[0], 1)
                given[1].set_result(None)

    def _first(self, key: K) -> tuple[C, asyncio.Future[None]] | None:
        if not self._may_fit(key):
            return None
        # Who is cancelled is done, and still in the queue until its task runs.
        return next((one for one in self._waiting[key] if not one[1].done() and self._fits(one[0])), None)
