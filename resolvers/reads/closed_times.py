"""Closed times: times in which no ledger row can be written any more."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from db.rows import AccountRow

SETTLING: Final = timedelta(minutes=5)
"""After this time no row with an earlier time is committed: clocks differ by at most a minute, and postings end before
their timeouts."""


def is_closed(account: AccountRow, end: datetime, now: datetime) -> bool:
    """Returns whether no row from before the end can be written any more."""
    return (account.head_at is not None and account.head_at >= end) or now >= end + SETTLING
