"""Slices: long work on the event loop is done a little at a time, so that others run in between.

Coroutines call `pause` between slices. Work that is no coroutine, such as graphql-core's parser, runs in a greenlet by
`in_slices`, and calls `breathe` wherever it may be interrupted. What a pause waits for is set by `pauses_by`: the
gateway lets the callers of all long work take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, Token, copy_context
from time import perf_counter
from typing import Any, Final, TypeVar

import greenlet

SLICE_SECONDS: Final = 0.0005
"""Each time that a request waits for something, it also waits for a slice of other work."""

Result = TypeVar("Result")
Pause = Callable[[], Awaitable[None]]


async def _yield() -> None:
    await asyncio.sleep(0)


_pause: ContextVar[Pause] = ContextVar("pause", default=_yield)


def pauses_by(pause: Pause) -> Token[Pause]:
    """Sets what the work of this task and of tasks that it creates waits for between two slices."""
    return _pause.set(pause)


async def pause() -> None:
    await _pause.get()()


class Slices:
    """Slices of a coroutine. Ask between its steps whether the slice is over."""

    __slots__ = ("_began",)

    def __init__(self) -> None:
        self._began = perf_counter()

    @property
    def is_over(self) -> bool:
        return perf_counter() - self._began > SLICE_SECONDS

    async def next(self) -> None:
        """Lets others run, and begins the next slice."""
        await pause()
        self._began = perf_counter()


class _Slice:
    """The slice that runs now."""

    __slots__ = ("parent", "until")

    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.until = 0.0


_running: _Slice | None = None


def breathe() -> None:
    """Ends the slice if it has taken its time. Does nothing outside `in_slices`."""
    if _running is not None and perf_counter() > _running.until:
        _running.parent.switch()


async def in_slices(work: Callable[[], Result]) -> Result:
    """Runs the work, which starts at once, and returns its result. Nothing that it changes may be seen by others before
    it is done."""
    global _running
    slice_ = _Slice(greenlet.getcurrent())
    worker = greenlet.greenlet(work)
    worker.gr_context = copy_context()
    try:
        while True:
            slice_.until, _running = perf_counter() + SLICE_SECONDS, slice_
            try:
                result: Result = worker.switch()
            finally:
                _running = None
            if worker.dead:
                return result
            await pause()
    finally:
        if not worker.dead:
            worker.throw()  # the caller was cancelled
