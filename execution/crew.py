"""Crew: continues the pending values of a long list, in slices.

asyncio would continue each of them in a task of its own, and all whose read is answered in the same iteration of the
event loop. A crew has one task for all of an operation. It continues those that may go on one after the other, and lets
others run between two slices (`execution/slices.py`). Meanwhile the snapshot sends no read, so that what they ask for
next is read together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any

from execution.pending import Begun, begin
from execution.slices import Slices


class _Group:
    """Values that one caller waits for."""

    def __init__(self, count: int) -> None:
        self.results: list[Any] = [None] * count
        self.left = count
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self, place: int, result: Any) -> None:
        self.results[place] = result
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(None)


class _Member:
    """A coroutine that waits, and where its result goes."""

    __slots__ = ("coroutine", "group", "place")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], group: _Group, place: int) -> None:
        self.coroutine = coroutine
        self.group = group
        self.place = place


class Crew:
    def __init__(self, held: Callable[[], AbstractContextManager[None]]) -> None:
        """`held` returns the context manager within which no read is sent."""
        self._held = held
        self._holding = ExitStack()
        self._ready: deque[_Member] = deque()
        self._members: set[_Member] = set()
        self._task: asyncio.Task[None] | None = None

    async def all_of(self, awaitables: Sequence[Awaitable[Any]]) -> Sequence[Any]:
        """Does the same as `execution.pending.all_of`."""
        group = _Group(len(awaitables))
        for place, one in enumerate(awaitables):
            self._add(one, group, place)
        if group.left:
            await group.done
        for result in group.results:
            if isinstance(result, BaseException):
                raise result
        return group.results

    def close(self) -> None:
        """Ends all that still waits."""
        if self._task is not None:
            self._task.cancel()
        for member in self._members:
            member.coroutine.close()
            member.group.done.cancel()
        self._holding.close()

    def _add(self, awaitable: Awaitable[Any], group: _Group, place: int) -> None:
        if isinstance(awaitable, Begun):
            member = _Member(awaitable.coroutine, group, place)
            self._members.add(member)
            self._watch(member, awaitable.waits_for)
        else:
            member = _Member(_awaited(awaitable), group, place)
            self._members.add(member)
            self._step(member)

    def _watch(self, member: _Member, waits_for: Any) -> None:
        if waits_for is None or waits_for.done():
            self._continue(member)
        else:
            waits_for.add_done_callback(partial(self._continue, member))

    def _continue(self, member: _Member, _future: object = None) -> None:
        if not self._ready:
            self._holding.enter_context(self._held())
        self._ready.append(member)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        slices = Slices()
        while self._ready:
            if slices.is_over:
                await slices.next()
            self._step(self._ready[0])
            self._ready.popleft()
        self._holding.close()

    def _step(self, member: _Member) -> None:
        try:
            begun = begin(member.coroutine)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  raised by `all_of`
            begun = error
        if isinstance(begun, Begun):
            self._watch(member, begun.waits_for)
        else:
            self._members.discard(member)
            member.group.end(member.place, begun)


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
