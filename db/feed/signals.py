"""Signals: tell the feed that rows were posted elsewhere. A signal may be lost, so the feed also polls."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

OnPosted = Callable[[Collection[int] | None], None]
"""Called with the accounts that have new rows; with None if it may be any account."""


class Signals(Protocol):
    def announce(self, account_ids: Collection[int]) -> None:
        """Announces rows that this process committed to other processes, without waiting."""

    def listen(self, on_posted: OnPosted) -> None:
        """Starts to report what other processes announce. Called once."""

    async def may_have_moved(self) -> bool:
        """Whether rows may have been posted since the last call. Called every `POLL_SECONDS`. Raises DatabaseError."""

    async def close(self) -> None:
        """Sends what was announced, and ends."""
