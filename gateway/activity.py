"""Activity of customers: whether one has the process to itself, so that its bulk work delays nobody else."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Final

ACTIVE_SECONDS: Final = 1.0
"""A customer is active for this time after an operation."""


class Activity:
    """A customer is an account, or a key without one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._newest: Hashable = None
        """Customer of the last operation."""
        self._newest_at = float("-inf")
        self._others_at = float("-inf")
        """Time of the last operation of any other customer."""

    def note(self, customer: Hashable) -> None:
        """Notes an operation of the customer."""
        if customer != self._newest:
            self._newest, self._others_at = customer, self._newest_at
        self._newest_at = self._clock()

    def is_alone(self, customer: Hashable) -> bool:
        """Returns whether no other customer is active."""
        others_at = self._others_at if customer == self._newest else self._newest_at
        return self._clock() - others_at > ACTIVE_SECONDS
