"""Turns on the event loop: long work of all keys is done in slices (`execution/slices.py`), one in each iteration of
the loop, and keys take turns. So one key's work, however much it is, delays requests of others by no more than a slice
each time that they wait for something."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable

from execution.slices import Pause


class LoopTurns:
    def __init__(self) -> None:
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()
        self._next: asyncio.Handle | None = None

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    def pause_of(self, key: Hashable) -> Pause:
        """Returns a function that waits for the next turn of the key."""

        async def pause() -> None:
            await self.turn(key)

        return pause

    async def start(self, key: Hashable) -> None:
        """Waits for the turn of the key, which it has at once if this iteration has had no slice."""
        if self._next is None:
            self._next = asyncio.get_running_loop().call_soon(self._give)
        else:
            await self.turn(key)

    async def turn(self, key: Hashable) -> None:
        """Waits for the turn of the key in a later iteration. The work that follows, until its next wait, is its
        slice."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(key, deque()).append(turn)
        if self._next is None:
            self._next = loop.call_soon(self._give)
        await turn

    def _give(self) -> None:
        self._next = None
        while self._waiting:
            key, queue = next(iter(self._waiting.items()))
            turn = queue.popleft()
            if queue:
                self._waiting.move_to_end(key)
            else:
                del self._waiting[key]
            if not turn.done():  # else its task was cancelled
                turn.set_result(None)
                # The next one not in this iteration: the slice comes first, and so does what has arrived meanwhile.
                self._next = asyncio.get_running_loop().call_soon(self._give)
                return
