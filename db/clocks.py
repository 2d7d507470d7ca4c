"""Clocks: compares this machine's clock with the database's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import DateTime, String, bindparam, func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from db import tables

if TYPE_CHECKING:
    from db.database import Database

Clock = Callable[[], datetime]

SERVER_TIME: Final = func.clock_timestamp(type_=DateTime(timezone=True))
"""PostgreSQL: the time when it is read, not the time when the transaction began."""


_SERVER_CLOCK: Final = select(SERVER_TIME)
_LIMIT_LOCK_WAITS: Final = select(
    SERVER_TIME, func.set_config("lock_timeout", bindparam("milliseconds", type_=String()), true())
)
_NEWEST_ROW: Final = select(func.max(tables.accounts.c.head_at, type_=tables.timestamp()))


def utc_now() -> datetime:
    return datetime.now(UTC)


class ClockReading(NamedTuple):
    ours: datetime
    theirs: datetime

    @property
    def ahead(self) -> timedelta:
        """The minimum by which our clock is ahead; negative if it is behind."""
        return self.ours - self.theirs


def reading_between(before: datetime, server: datetime, after: datetime) -> ClockReading:
    """Returns a reading of both clocks, given our time before and after reading the server's.

    Of our times in between, the one closest to the server's time is used.
    """
    return ClockReading(max(before, min(server, after)), server)


async def read_server_clock(database: Database, clock: Clock) -> ClockReading:
    """Reads the server's clock. PostgreSQL only."""
    before = clock()
    [[server]] = await database.read(_SERVER_CLOCK)
    return reading_between(before, server, clock())


async def limit_lock_waits(connection: AsyncConnection, seconds: float, clock: Clock) -> ClockReading:
    """Limits each wait for a lock in this transaction, and reads the server's clock in the same statement. PostgreSQL
    only."""
    before = clock()
    server = (await connection.execute(_LIMIT_LOCK_WAITS, {"milliseconds": str(round(seconds * 1000))})).one()[0]
    return reading_between(before, server, clock())


async def newest_row_time(database: Database) -> datetime | None:
    """Returns the time of the newest row of all accounts, or None if there is no row. Reads only the accounts."""
    rows: Sequence[Any] = await database.read(_NEWEST_ROW)
    newest: datetime | None = rows[0][0]
    return newest
