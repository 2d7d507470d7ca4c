"""How old the oldest work is that waits: across all accounts, for the worker's metrics."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Date, Integer, func, select

from db import tables
from db.database import Database
from db.stripe_tables import auto_recharges, stripe_events
from db.volume_tables import volumes

_holds = tables.holds
_DECLINED: Final = select(func.count(type_=Integer())).where(auto_recharges.c.declines > 0)
_OLDEST: Final = select(
    select(func.min(volumes.c.next_day, type_=Date())).scalar_subquery(),
    select(func.min(_holds.c.period_end, type_=tables.timestamp())).where(_holds.c.state == "open").scalar_subquery(),
    select(func.min(stripe_events.c.received_at, type_=tables.timestamp()))
    .where(stripe_events.c.state == "waiting")
    .scalar_subquery(),
    select(func.count(type_=Integer()))
    .select_from(auto_recharges)
    .where(auto_recharges.c.declines > 0)
    .scalar_subquery(),
)


class Backlog(NamedTuple):
    """Seconds that the oldest work of a kind waits; 0 if none waits."""

    unbilled_day_seconds: float
    """Since the end of the oldest day of storage that is not billed."""
    ended_hold_seconds: float
    """Since the end of the oldest hold that is still open."""
    waiting_event_seconds: float
    """Since the oldest Stripe event that waits was received."""
    declined_accounts: int
    """Accounts whose last auto-recharge payment was declined."""


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())


def _end_of(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), UTC) + timedelta(days=1)


async def read_backlog(database: Database, now: datetime) -> Backlog:
    ((day, hold_end, received_at, declined),) = await database.read(_OLDEST)
    return Backlog(_age(_end_of(day), now), _age(hold_end, now), _age(received_at, now), declined)
