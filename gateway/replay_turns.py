"""Turns of subscriptions that are sent past rows: one after the other, so that none waits for thousands of rows."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

from gateway.errors import RequestError
from gateway.fair_queue import FairQueue

BUDGET_SECONDS: Final = 0.002
"""Time that past rows may take before all others have their turn."""


class ReplayTurns(FairQueue[int, int]):
    """A turn is one row. Keys take turns too, however many subscriptions each has."""

    def __init__(self, slots: int, slots_per_key: int, most: int) -> None:
        super().__init__()
        self._slots = slots
        self._slots_per_key = slots_per_key
        self._most = most
        self._running: Counter[int] = Counter()
        self._rested_at = 0.0

    @contextlib.asynccontextmanager
    async def turn(self, key_id: int) -> AsyncIterator[None]:
        """Waits for a turn. Raises RequestError if too many wait."""
        if not self._enters(key_id, key_id):
            if self.waiting >= self._most:
                raise RequestError("UNAVAILABLE", "too many subscriptions read past rows: subscribe again later")
            await self._wait(key_id, key_id)
        try:
            await self._rest()
            yield
        finally:
            self._leave(key_id)

    def _may_fit(self, key: int) -> bool:
        return self._running.total() < self._slots and self._running[key] < self._slots_per_key

    def _fits(self, _claim: int) -> bool:
        return True

    def _count(self, claim: int, change: int) -> None:
        self._running[claim] += change
        if not self._running[claim]:
            del self._running[claim]

    async def _rest(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._rested_at >= BUDGET_SECONDS:
            await asyncio.sleep(0)
            self._rested_at = loop.time()
