"""How fast a key may spend points: a token bucket for each key, of this process."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

MAX_BUCKETS: Final = 100_000


class Rate(NamedTuple):
    points_per_second: float
    burst: float
    """Most points that can be spent at once."""


class Balance(NamedTuple):
    """Points that a key may still spend."""

    rate: Rate
    remaining: float

    @property
    def reset_seconds(self) -> int:
        """Until the bucket is full again."""
        return math.ceil((self.rate.burst - self.remaining) / self.rate.points_per_second)


class TooCostly(Exception):
    def __init__(self, points: int, limit: int) -> None:
        super().__init__(
            f"the operation costs {points} points, at most {limit} are allowed: ask for fewer rows or fields at once"
        )


class RateExceeded(Exception):
    def __init__(self, balance: Balance, points: float) -> None:
        self.balance = balance
        missing = min(points, balance.rate.burst) - balance.remaining
        # A little more: the sums are rounded, and the time that is told must be enough.
        self.retry_after_seconds = max(1, math.ceil(missing / balance.rate.points_per_second + 1e-6))
        super().__init__(
            f"this key has spent its points: the operation costs {math.ceil(points)},"
            f" {max(0, int(balance.remaining))} of {balance.rate.burst:.0f} are left, and"
            f" {balance.rate.points_per_second:.0f} are added each second: try again in {self.retry_after_seconds} s"
        )


class Buckets:
    """A bucket that nobody has used for as long as it takes to fill is full: the oldest are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def spend(self, key: str, points: float, rate: Rate) -> Balance:
        """Raises RateExceeded, and takes nothing then. A call that costs more than the burst needs a full bucket."""
        now = self._clock()
        balance = self.balance(key, rate, now)
        if balance.remaining < min(points, rate.burst):
            raise RateExceeded(balance, points)
        left = balance.remaining - points
        self._keep(key, left, now)
        return Balance(rate, left)

    def keep(self, key: str, balance: Balance) -> None:
        """Keeps what another place says that the key may still spend."""
        self._keep(key, balance.remaining, self._clock())

    def _keep(self, key: str, left: float, now: float) -> None:
        self._spent[key] = (left, now)
        self._spent.move_to_end(key)
        if len(self._spent) > MAX_BUCKETS:
            self._spent.popitem(last=False)

    def balance(self, key: str, rate: Rate, now: float | None = None) -> Balance:
        now = self._clock() if now is None else now
        left, at = self._spent.get(key, (rate.burst, now))
        return Balance(rate, min(rate.burst, left + (now - at) * rate.points_per_second))
