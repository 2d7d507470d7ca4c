"""Turns of subscriptions that are sent past rows: one after the other, so that none waits for thousands of rows."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator
from typing import Final

from gateway.errors import RequestError

BUDGET_SECONDS: Final = 0.002
"""Time that past rows may take before all others have their turn."""


class ReplayTurns:
    """A turn is one row. Keys take turns too, however many subscriptions each has."""

    def __init__(self, slots: int, slots_per_key: int, most: int) -> None:
        self._slots = slots
        self._slots_per_key = slots_per_key
        self._most = most
        self._running: Counter[int] = Counter()
        self._waiting: dict[int, deque[asyncio.Future[None]]] = {}
        self._waiting_count = 0
        self._rested_at = 0.0

    @contextlib.asynccontextmanager
    async def turn(self, key_id: int) -> AsyncIterator[None]:
        """Waits for a turn. Raises RequestError if too many wait."""
        await self._take(key_id)
        try:
            await self._rest()
            yield
        finally:
            self._running[key_id] -= 1
            if not self._running[key_id]:
                del self._running[key_id]
            self._call_next()

    def _has_slot(self, key_id: int) -> bool:
        return self._running.total() < self._slots and self._running[key_id] < self._slots_per_key

    async def _take(self, key_id: int) -> None:
        if key_id not in self._waiting and self._has_slot(key_id):
            self._running[key_id] += 1
            return
        if self._waiting_count >= self._most:
            raise RequestError("UNAVAILABLE", "too many subscriptions read past rows: subscribe again later")
        called = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key_id, deque()).append(called)
        self._waiting_count += 1
        try:
            await called
        except asyncio.CancelledError:
            if called.cancelled():
                self._give_up(key_id, called)
            else:
                self._running[key_id] -= 1
                self._call_next()
            raise

    def _give_up(self, key_id: int, called: asyncio.Future[None]) -> None:
        queue = self._waiting[key_id]
        queue.remove(called)
        self._waiting_count -= 1
        if not queue:
            del self._waiting[key_id]

    def _call_next(self) -> None:
        """The key that was called last is the last to be called again."""
        for key_id in list(self._waiting):
            if self._running.total() >= self._slots:
                return
            if self._running[key_id] >= self._slots_per_key:
                continue
            queue = self._waiting.pop(key_id)
            called = queue.popleft()
            self._waiting_count -= 1
            if queue:
                self._waiting[key_id] = queue
            self._running[key_id] += 1
            called.set_result(None)

    async def _rest(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._rested_at >= BUDGET_SECONDS:
            await asyncio.sleep(0)
            self._rested_at = loop.time()
