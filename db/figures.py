"""Figures: counts of a process's work with the database, for its metrics."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

SHORTEST_WAIT_SECONDS: Final = 0.001


class PoolUse(NamedTuple):
    """Connections of a pool now, those who wait for one, and waits since the process began."""

    lent: int
    idle: int
    waiting: int
    waits: int
    waited_seconds: float


@dataclass(slots=True)
class Figures:
    """Since the process began."""

    rows_posted: int = 0
    lock_waits: int = 0
    lock_wait_seconds: float = 0.0
    connections_lost: int = 0
    """Ended because the server, or the way to it, was silent."""

    def note_lock_wait(self, seconds: float) -> None:
        self.lock_waits += 1
        self.lock_wait_seconds += seconds


class WriteWaits:
    """Waits for a connection to write with, which SQLAlchemy does not count."""

    def __init__(self) -> None:
        self._waiting = 0
        self._waits = 0
        self._waited_seconds = 0.0

    def use(self, lent: int, idle: int) -> PoolUse:
        return PoolUse(lent, idle, self._waiting, self._waits, self._waited_seconds)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Around what waits. A connection that is there is no wait."""
        self._waiting += 1
        began = time.monotonic()
        try:
            yield
        finally:
            self._waiting -= 1
            seconds = time.monotonic() - began
            if seconds > SHORTEST_WAIT_SECONDS:
                self._waits += 1
                self._waited_seconds += seconds
