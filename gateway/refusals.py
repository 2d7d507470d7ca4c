"""Refusals: how long the answer to a refused request waits, so that nobody is refused faster than a normal client asks.

A client that repeats what is refused is answered at a bounded rate: over many connections, it would otherwise keep the
process busy with refusals, which cost no points. `gateway/protocol.py` holds the answers.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

BURST_SECONDS: Final = 1.0
"""Refusals of this time are answered at once, if none came before."""
MAX_SECONDS: Final = 5.0
"""Maximum wait of an answer: less than clients wait for one."""
BODY_BYTES: Final = 65_536
"""A refused body of this size counts as one more refusal."""
MAX_CLIENTS: Final = 100_000


class Refusals:
    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds_each = 1 / per_second
        self._clock = clock
        self._due: OrderedDict[Hashable, float] = OrderedDict()
        """When the last answer to a client was or will be due, had each kept its distance from the one before."""

    def wait_seconds(self, client: Hashable, body_bytes: int = 0) -> float:
        """Counts a refusal and returns how long its answer is to wait. A client is a key, or an address that gave no
        valid key."""
        now = self._clock()
        seconds = self._seconds_each * (1 + body_bytes // BODY_BYTES)
        due = min(max(self._due.get(client, 0.0), now - BURST_SECONDS) + seconds, now + MAX_SECONDS)
        self._due[client] = due
        self._due.move_to_end(client)
        if len(self._due) > MAX_CLIENTS:
            self._due.popitem(last=False)
        return max(0.0, due - now)
