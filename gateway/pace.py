"""Pace: how long something that costs no points has to wait, so that no client is served more of it in a second than
it may have.

Refusals and messages of WebSockets are paced: a client that sends them as fast as they are answered, over many
connections, would otherwise keep the process busy.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

BURST_SECONDS: Final = 1.0
"""Time whose share of them does not wait, if none came before."""
MAX_SECONDS: Final = 5.0
"""Maximum wait: less than clients wait for an answer."""
LARGE_BYTES: Final = 65_536
"""A body or message of this size counts as one more."""
MAX_CLIENTS: Final = 100_000


class Pace:
    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds_each = 1 / per_second
        self._clock = clock
        self._due: OrderedDict[Hashable, float] = OrderedDict()
        """When the last one of a client was or will be due, had each kept its distance from the one before."""

    def wait_seconds(self, client: Hashable, size_bytes: int = 0) -> float:
        """Counts one more and returns how long it has to wait. A client is a key, or an address that gave no valid
        key."""
        now = self._clock()
        seconds = self._seconds_each * (1 + size_bytes // LARGE_BYTES)
        due = min(max(self._due.get(client, 0.0), now - BURST_SECONDS) + seconds, now + MAX_SECONDS)
        self._due[client] = due
        self._due.move_to_end(client)
        if len(self._due) > MAX_CLIENTS:
            self._due.popitem(last=False)
        return max(0.0, due - now)
