"""Nightly verification of all accounts, a few at a time. The progress is stored, so that a restart continues there."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date
from typing import Final

import structlog

from db.database import Database
from db.recount.ledger_rows import account_ids_after
from db.verification_runs import VerificationRunRow, newest_run, put_run
from ledger.ids import account_id_text
from ledger.posting import Clock, utc_now
from ledger.verification.accounts import verify_account
from ledger.verification.calls import other_call_faults
from ledger.verification.faults import Fault

log = structlog.get_logger()

ACCOUNTS_AT_ONCE: Final = 100
"""Number of accounts after which the progress is stored."""
ROUND_SECONDS: Final = 10.0
"""Time after which a round ends, between two accounts. The next round continues."""

Report = Callable[[VerificationRunRow], None]


def log_fault(fault: Fault) -> None:
    account = account_id_text(fault.account_id)
    log.error("ledger fault", kind=fault.kind.value, account=account, row=fault.subject, reason=fault.message)


def ignore(_run: VerificationRunRow) -> None:
    pass


class NightlyVerification:
    def __init__(self, database: Database, hour: int, clock: Clock = utc_now, report: Report = ignore) -> None:
        """A run is due from this hour (UTC) on; never if the hour is negative.

        `report` is called with each step, and with the newest runs at the start.
        """
        self._database = database
        self._hour = hour
        self._clock = clock
        self._report = report
        self._run: VerificationRunRow | None = None
        self._is_new = True

    async def run(self) -> int:
        """Verifies accounts. Returns how many."""
        if self._is_new:
            await self._recall()
        day = self._due_day()
        if day is None:
            return 0
        run = self._run
        if run is None or run.finished_at is not None:
            run = VerificationRunRow(day, self._clock(), 0, 0, 0, None)
        return await self._go_on(run)

    async def _recall(self) -> None:
        finished = await newest_run(self._database, finished=True)
        self._run = await newest_run(self._database)
        for run in dict.fromkeys((finished, self._run)):
            if run is not None:
                self._report(run)
        self._is_new = False

    def _due_day(self) -> date | None:
        """Returns the day of the run to continue or to start."""
        now = self._clock().astimezone(UTC)
        if self._hour < 0:
            return None
        if self._run is not None and (self._run.finished_at is None or self._run.day >= now.date()):
            return None if self._run.finished_at else self._run.day
        return now.date() if now.hour >= self._hour else None

    async def _go_on(self, run: VerificationRunRow) -> int:
        until, before = time.monotonic() + ROUND_SECONDS, run.accounts
        is_over = False
        while not is_over:
            run = await self._step(run, until)
            async with self._database.write() as connection:
                await put_run(connection, run)
            self._run = run
            self._report(run)
            is_over = run.finished_at is not None or time.monotonic() > until
        return run.accounts - before

    async def _step(self, run: VerificationRunRow, until: float) -> VerificationRunRow:
        ids = await account_ids_after(self._database.read, run.account_id, ACCOUNTS_AT_ONCE)
        for account_id in ids:
            faults = (await verify_account(self._database, account_id)).faults
            run = self._counted(run, faults)._replace(account_id=account_id, accounts=run.accounts + 1)
            if time.monotonic() > until:
                return run
        return run if ids else await self._finished(run)

    async def _finished(self, run: VerificationRunRow) -> VerificationRunRow:
        run = self._counted(run, [fault async for fault in other_call_faults(self._database)])
        log.info("all accounts verified", day=str(run.day), accounts=run.accounts, faults=run.faults)
        return run._replace(finished_at=self._clock())

    def _counted(self, run: VerificationRunRow, faults: list[Fault]) -> VerificationRunRow:
        for fault in faults:
            log_fault(fault)
        return run._replace(faults=run.faults + len(faults))
