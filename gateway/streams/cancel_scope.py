from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from gateway.streams.live import Ending


class CancelScope:
    """Lets others end what a task does: within `async with`, it is interrupted where it waits.

    It leaves with TimeoutError then, as after the seconds of its own, and `has_expired`.
    """

    __slots__ = ("_is_entered", "_is_over", "_timeout", "ending")

    def __init__(self, seconds: float | None = None) -> None:
        self._timeout = asyncio.timeout(seconds)
        self._is_entered = self._is_over = False
        self.ending: Ending | None = None
        """Why it was pulled; None where its own time ran out."""

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._is_entered = True
        if self.ending is not None:
            self._timeout.reschedule(0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_entered, self._is_over = False, True
        await self._timeout.__aexit__(kind, error, traceback)

    def cancel(self, ending: Ending) -> None:
        """The first who pulls is the one who counts, even before the task has begun; afterwards it is too late."""
        if self._is_over or self.ending is not None or self._timeout.expired():
            return
        self.ending = ending
        if self._is_entered:
            self._timeout.reschedule(0)

    def lift_deadline(self) -> None:
        """There is no hurry any more, until it is pulled."""
        if self._is_entered and self.ending is None and not self._timeout.expired():
            self._timeout.reschedule(None)

    @property
    def has_expired(self) -> bool:
        return self._timeout.expired()
