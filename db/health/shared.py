"""Checks that are shared by all who ask at the same time, and that may be stuck."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from db.clocks import Clock
from db.health.health import ANSWER_SECONDS, Health

Result = TypeVar("Result")


class SharedCheck:
    """One check at a time: whoever asks meanwhile is told what that one finds. One that is stuck stays alone."""

    def __init__(self, look: Callable[[Clock], Coroutine[Any, Any, Health]]) -> None:
        self._look = look
        self._running: asyncio.Task[Health] | None = None
        self._until = 0.0

    async def look(self, clock: Clock) -> Health:
        loop = asyncio.get_running_loop()
        if self._running is None or self._running.done():
            self._running = loop.create_task(self._look(clock))
            self._until = loop.time() + ANSWER_SECONDS
        running = self._running
        await asyncio.wait([running], timeout=max(self._until - loop.time(), 0.0))
        if not running.done():
            return Health(reachable=f"the database did not answer within {ANSWER_SECONDS:g} seconds")
        return running.result()

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running], timeout=ANSWER_SECONDS)


def in_thread(work: Callable[[], Result]) -> asyncio.Future[Result]:
    """In a thread of its own that keeps no process from ending: it may be stuck on a disk."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Result] = loop.create_future()

    def tell(found: Result | None, error: Exception | None) -> None:
        if not answer.done():
            answer.set_exception(error) if error is not None else answer.set_result(found)  # type: ignore[arg-type]

    def run() -> None:
        found, failure = None, None
        try:
            found = work()
        except Exception as error:  # noqa: BLE001  it is the answer
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, found, failure)

    threading.Thread(target=run, name="database-health", daemon=True).start()
    return answer
