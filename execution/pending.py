"""Pending values: coroutines that start at once and are awaited only if they really wait.

A resolver that needs nothing from outside, or whose rows are already read, ends at its first step and costs no task. A
resolver that waits continues later, in its own task if it has siblings. So it may wait for futures, locks and other
coroutines. While it waits it must not hold anything bound to the task in which it started (`asyncio.timeout`, a task
group).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Generator, Sequence
from typing import Any


class Begun:
    """A coroutine that has run until its first wait. Await it once to continue."""

    __slots__ = ("coroutine", "waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> None:
        self.coroutine = coroutine
        self.waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, Any]:
        waits_for = self.waits_for
        while True:
            if waits_for is not None:
                waits_for._asyncio_future_blocking = True  # noqa: SLF001
            try:
                yield waits_for
            except GeneratorExit:
                # Nobody waits any more. The coroutine may already be closed, because both may be abandoned at once.
                self.coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001  the coroutine gets cancellation too, as with `await`
                try:
                    waits_for = self.coroutine.throw(error)
                except StopIteration as stop:
                    return stop.value
            else:
                return (yield from self.coroutine.__await__())


def begin(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Starts the coroutine. Returns its result, or a `Begun` if it has to wait. Raises the coroutine's error."""
    try:
        waits_for = coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    if waits_for is not None:
        # This flag tells a task that the future was yielded by `await`. No task has seen the future yet, and another
        # coroutine may wait for it in the meantime. It is set again before a task sees it.
        waits_for._asyncio_future_blocking = False  # noqa: SLF001
    return Begun(coroutine, waits_for)


async def all_of(awaitables: Sequence[Awaitable[Any]]) -> Sequence[Any]:
    """Returns the results in order when all have ended. If any failed, raises the error of the first one in order.

    None is cancelled if another fails, because fields that continue may wait for the same read.
    """
    if len(awaitables) == 1:
        return [await awaitables[0]]
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
