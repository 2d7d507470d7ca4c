"""What tells the feed that rows were posted elsewhere. A signal may be lost: the feed looks for itself as well."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

OnPosted = Callable[[Collection[int] | None], None]
"""Told which accounts have new rows; None where it may be any."""


class Signals(Protocol):
    def announce(self, account_ids: Collection[int]) -> None:
        """Tells other processes, without waiting, of rows that this one committed."""

    def listen(self, on_posted: OnPosted) -> None:
        """Begins to pass on what other processes announce. Called once."""

    async def may_have_moved(self) -> bool:
        """Whether anybody may have posted since the last call. Asked every `POLL_SECONDS`; raises DatabaseError."""

    async def close(self) -> None:
        """Sends what was announced, and ends."""
