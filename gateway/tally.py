from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from time import time
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

KEPT_SECONDS: Final = 0.5

REQUEST_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The bounds of the buckets."""


class BulkHistogram(Histogram):
    def add(self, counts: Sequence[int], total: float) -> None:
        """Many observations: how many fell into each bucket, and their sum."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


class _Gathering:
    """Plain numbers that go to Prometheus' twice a second."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def _begin(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(KEPT_SECONDS, self.hand_on)

    def hand_on(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._hand_on()

    def _hand_on(self) -> None:
        raise NotImplementedError


class Tally(_Gathering):
    """Events that were written over one transport.

    With several workers Prometheus' numbers are in files, and to count an event there took as long as to write it to
    its client.
    """

    def __init__(self, events: Counter, delay: BulkHistogram, bounds: Sequence[float]) -> None:
        super().__init__()
        self._events = events
        self._delay = delay
        self._bounds = bounds
        self._written = 0
        self._delays = [0] * (len(bounds) + 1)
        self._total_delay = 0.0
        self._committed_at: datetime | None = None
        self._committed = 0.0

    def count(self, committed_at: datetime | None) -> None:
        """Counts an event whose row was committed then; None if no delay is to be counted, such as for a past row."""
        self._written += 1
        if committed_at is not None:
            if committed_at is not self._committed_at:
                # The time is often the same object for thousands of subscribers.
                self._committed_at, self._committed = committed_at, committed_at.timestamp()
            delay = time() - self._committed
            self._delays[bisect_left(self._bounds, delay)] += 1
            self._total_delay += delay
        self._begin()

    def _hand_on(self) -> None:
        self._events.inc(self._written)
        self._delay.add(self._delays, self._total_delay)
        self._written, self._total_delay = 0, 0.0
        self._delays = [0] * len(self._delays)


class _Durations:
    """Durations of the requests of one route."""

    def __init__(self) -> None:
        self.total = 0.0
        self.counts = [0] * (len(REQUEST_SECONDS) + 1)

    def add(self, seconds: float) -> None:
        self.total += seconds
        self.counts[bisect_left(REQUEST_SECONDS, seconds)] += 1


class RequestTally(_Gathering):
    """Requests that are being answered, and those that were.

    Prometheus' five numbers of a request took as long as to find and check its operation.
    """

    def __init__(self, requests: Counter, seconds: BulkHistogram, running: Gauge) -> None:
        """Labels of `requests`: route, method, status and code; of `seconds`: route; `running` has none."""
        super().__init__()
        self._requests = requests
        self._seconds = seconds
        self._running_gauge = running
        self._running = 0
        self._answered: defaultdict[tuple[str, str, int, str], int] = defaultdict(int)
        self._durations: defaultdict[str, _Durations] = defaultdict(_Durations)

    def begin(self) -> None:
        self._running += 1
        self._begin()

    def end(self, route: str, method: str, status: int, seconds: float, code: str = "") -> None:
        """Counts the end of a request that began. `code` is that of the first error in the answer."""
        self._running -= 1
        self._durations[route].add(seconds)
        self.count(route, method, status, code)

    def count(self, route: str, method: str, status: int, code: str = "") -> None:
        """Counts a request that is answered as soon as it is there."""
        self._answered[route, method, status, code] += 1
        self._begin()

    def _hand_on(self) -> None:
        self._running_gauge.set(self._running)
        for (route, method, status, code), count in self._answered.items():
            self._requests.labels(route, method, str(status), code).inc(count)
        for route, durations in self._durations.items():
            self._seconds.labels(route).add(durations.counts, durations.total)
        self._answered.clear()
        self._durations.clear()
