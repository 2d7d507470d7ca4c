"""Clock watch: keeps a wrong clock out of the ledger.

`created_at` is the later of the clock and the row before, so one row with a time in the future moves all later rows of
its account into the wrong month. PostgreSQL has its own clock: a process whose clock differs from it posts nothing.
SQLite has no clock: if the clock is behind the newest row, either the clock or that row is wrong. The difference is
reported and rows are still posted.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from db.clocks import Clock, ClockReading, newest_row_time, read_server_clock, utc_now
from db.database import Database
from db.errors import ClockWrong
from ledger.chain import format_time

TOLERANCE: Final = timedelta(minutes=1)

log = structlog.get_logger()


def _problem(reading: ClockReading, theirs: str) -> str:
    seconds = int(TOLERANCE.total_seconds())
    return (
        f"clock: this process's clock shows {format_time(reading.ours)}, {theirs} {format_time(reading.theirs)}: they"
        f" differ by more than {seconds} seconds"
    )


def _ignore(_seconds: float) -> None:
    pass


class ClockWatch:
    """One per process. Logs when the clock becomes wrong and when it is right again, not at each post."""

    def __init__(self, clock: Clock = utc_now, report: Callable[[float], None] = _ignore) -> None:
        """`report` is called with the seconds by which the clock is ahead; negative if it is behind."""
        self.clock = clock
        self._report = report
        self._was_wrong = False

    def check(self, reading: ClockReading | None) -> None:
        """Raises ClockWrong before anything is written. `reading` is None if the database has no clock."""
        if reading is None:
            return
        problem = _problem(reading, "the database server's") if abs(reading.ahead) > TOLERANCE else None
        self._note(reading.ahead, problem)
        if problem is not None:
            msg = f"{problem}. Nothing was written"
            raise ClockWrong(msg)

    async def measure(self, database: Database) -> str | None:
        """Compares the clock with the database. Raises ClockWrong on PostgreSQL.

        On SQLite a wrong clock does not stop posting: returns a text about the problem, or None.
        """
        if database.is_postgresql:
            self.check(await read_server_clock(database, self.clock))
            return None
        return self.compare_newest(await newest_row_time(database))

    def compare_newest(self, newest: datetime | None) -> str | None:
        """SQLite: what is wrong, by the time of the newest row."""
        now = self.clock()
        # The newest row may be old, so it says something about the clock only if it is ahead of the clock.
        reading = ClockReading(now, newest if newest is not None and newest > now else now)
        problem = _problem(reading, "the newest row was recorded at") if -reading.ahead > TOLERANCE else None
        self._note(reading.ahead, problem)
        return problem

    def _note(self, ahead: timedelta, problem: str | None) -> None:
        self._report(ahead.total_seconds())
        if (problem is not None) == self._was_wrong:
            return
        self._was_wrong = problem is not None
        if problem is None:
            log.warning("the clock is right again", ahead_seconds=ahead.total_seconds())
        else:
            log.error("the clock is wrong", reason=problem, ahead_seconds=ahead.total_seconds())
