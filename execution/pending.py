"""Coroutines that are begun at once, and waited for only where they really wait.

A resolver that needs nothing from outside, or whose rows are there already, is done at its first step: it costs no
task. One that waits goes on later, in a task of its own where it has siblings: so it may wait for futures, locks and
other coroutines, but must not hold what belongs to the task it began in (`asyncio.timeout`, a task group) meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Generator, Sequence
from typing import Any


class Begun:
    """A coroutine that has run up to its first wait. Awaited once, it goes on from there."""

    __slots__ = ("_coroutine", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, Any]:
        waits_for = self._waits_for
        while True:
            if waits_for is not None:
                waits_for._asyncio_future_blocking = True  # noqa: SLF001
            try:
                yield waits_for
            except GeneratorExit:
                # Nobody waits any more: the coroutine, left behind beside this, may have been closed before.
                self._coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001  cancellation too goes to the coroutine, as by `await`
                try:
                    waits_for = self._coroutine.throw(error)
                except StopIteration as stop:
                    return stop.value
            else:
                return (yield from self._coroutine.__await__())


def begin(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The coroutine's result, or a `Begun` if it has to wait. Raises what it raises."""
    try:
        waits_for = coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    if waits_for is not None:
        # By this a future tells the task that it was yielded to, that `await` did so. No task has seen it yet, and
        # another coroutine may come to wait for the same future meanwhile: it is set again when a task does.
        waits_for._asyncio_future_blocking = False  # noqa: SLF001
    return Begun(coroutine, waits_for)


async def all_of(awaitables: Sequence[Awaitable[Any]]) -> Sequence[Any]:
    """Their results in order, when all have come to an end; raises the first one's error then.

    None is cancelled because another failed: they may wait for the same read as fields that go on.
    """
    if len(awaitables) == 1:
        return [await awaitables[0]]
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
