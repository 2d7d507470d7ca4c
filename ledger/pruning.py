"""Pruning: deletes requests in full and ended authorizations once their time is over, in short transactions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from db.database import Database
from db.pruning import OldestRow, delete_authorizations, delete_details, oldest_rows
from ledger.posting import Clock, utc_now

INTERVAL: Final = timedelta(hours=1)
MIN_AUTHORIZATION_DAYS: Final = 2
"""How long an ended authorization is kept at least, so that a late capture still finds it."""

_ACCOUNTS_AT_ONCE: Final = 1_000
_ROWS_AT_ONCE: Final = 2_000
"""Rows of a transaction: few enough that other writers hardly notice it, on SQLite too."""


PruningReport = Callable[[datetime], None]


def ignore(_at: datetime) -> None:
    pass


class Pruning:
    def __init__(
        self,
        database: Database,
        request_detail_days: int,
        clock: Clock = utc_now,
        report: PruningReport = ignore,
        rows_at_once: int = _ROWS_AT_ONCE,
    ) -> None:
        """`report` is called with the time when all that was due has been deleted."""
        self._database = database
        self._request_days = timedelta(days=request_detail_days)
        self._authorization_days = timedelta(days=max(request_detail_days, MIN_AUTHORIZATION_DAYS))
        self._clock = clock
        self._report = report
        self._rows = rows_at_once
        self._next_at: datetime | None = None

    async def run(self) -> int:
        """Deletes what is due, once an hour. Returns how many rows."""
        now = self._clock()
        if self._next_at is not None and now < self._next_at:
            return 0
        deleted = await self._prune(now)
        self._next_at = now + INTERVAL
        self._report(now)
        return deleted

    async def _prune(self, now: datetime) -> int:
        deleted, after = 0, 0
        while accounts := await oldest_rows(self._database, after, _ACCOUNTS_AT_ONCE):
            for oldest in accounts:
                deleted += await self._prune_account(oldest, now)
            after = accounts[-1].account_id
        return deleted

    async def _prune_account(self, oldest: OldestRow, now: datetime) -> int:
        requests_before, authorizations_before = now - self._request_days, now - self._authorization_days
        deleted = 0
        if oldest.request_at is not None and oldest.request_at < requests_before:
            deleted += await self._prune_requests(oldest.account_id, requests_before)
        if oldest.authorized_at is not None and oldest.authorized_at < authorizations_before:
            deleted += await self._prune_authorizations(oldest.account_id, authorizations_before)
        return deleted

    async def _prune_requests(self, account_id: int, cutoff: datetime) -> int:
        total, deleted = 0, self._rows
        while deleted == self._rows:
            async with self._database.write() as connection:
                deleted = await delete_details(connection, account_id, cutoff, self._rows)
            total += deleted
        return total

    async def _prune_authorizations(self, account_id: int, cutoff: datetime) -> int:
        total, after = 0, 0
        last: int | None = 0
        while last is not None:
            async with self._database.write() as connection:
                deleted, last = await delete_authorizations(connection, account_id, after, cutoff, self._rows)
            total, after = total + deleted, last or 0
        return total
