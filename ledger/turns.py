"""Turns: calls of this process on the same account run one after the other, and wait without a connection."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager

from db.errors import LockUnavailable


class Turns:
    def __init__(self, longest_wait_seconds: float) -> None:
        self._longest_wait_seconds = longest_wait_seconds
        self._locks: dict[int, asyncio.Lock] = {}
        self._calls: Counter[int] = Counter()

    def are_taken(self, account_ids: Collection[int]) -> bool:
        """Whether any of them is another call's at the moment."""
        return any(account_id in self._calls for account_id in account_ids)

    @asynccontextmanager
    async def taken(self, account_ids: Collection[int]) -> AsyncIterator[None]:
        """Holds the turns of the accounts. Raises LockUnavailable if the calls before this one take too long."""
        async with AsyncExitStack() as turns:
            try:
                async with asyncio.timeout(self._longest_wait_seconds):
                    for account_id in sorted(account_ids):
                        self._calls[account_id] += 1
                        turns.callback(self._leave, account_id)
                        await turns.enter_async_context(self._locks.setdefault(account_id, asyncio.Lock()))
            except TimeoutError as error:
                raise LockUnavailable("other calls on the account are still running") from error
            yield

    def _leave(self, account_id: int) -> None:
        self._calls[account_id] -= 1
        if not self._calls[account_id]:
            del self._calls[account_id], self._locks[account_id]
