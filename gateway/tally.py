from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime
from time import time
from typing import Final

from prometheus_client import Counter, Histogram

KEPT_SECONDS: Final = 0.5


class BulkHistogram(Histogram):
    def add(self, counts: Sequence[int], total: float) -> None:
        """Many observations: how many fell into each bucket, and their sum."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


class Tally:
    """Events that were written over one transport, in plain numbers that go to Prometheus' twice a second.

    With several workers those are in files, and to count an event there took as long as to write it to its client.
    """

    def __init__(self, events: Counter, delay: BulkHistogram, bounds: Sequence[float]) -> None:
        self._events = events
        self._delay = delay
        self._bounds = bounds
        self._written = 0
        self._delays = [0] * (len(bounds) + 1)
        self._total_delay = 0.0
        self._committed_at: datetime | None = None
        self._committed = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def count(self, committed_at: datetime | None) -> None:
        """Of a row that was committed then; None where there is no delay to speak of, as of a row from before."""
        self._written += 1
        if committed_at is not None:
            if committed_at is not self._committed_at:
                # Often one and the same for thousands of subscribers.
                self._committed_at, self._committed = committed_at, committed_at.timestamp()
            delay = time() - self._committed
            self._delays[bisect_left(self._bounds, delay)] += 1
            self._total_delay += delay
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(KEPT_SECONDS, self.hand_on)

    def hand_on(self) -> None:
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        self._events.inc(self._written)
        self._delay.add(self._delays, self._total_delay)
        self._written, self._total_delay = 0, 0.0
        self._delays = [0] * len(self._delays)
