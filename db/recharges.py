"""Auto-recharge: the settings of accounts, and the payments that were requested."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Select, and_, bindparam, cast, exists, func, or_, select, update

from db import tables
from db.connections.snapshots import Read, Rows, Wanted
from db.database import Database, WriteConnection
from db.statements import columns, is_here, is_one_of
from db.stripe_tables import auto_recharges, recharge_attempts
from db.tables import timestamp
from db.writes import upsert

_SET = auto_recharges
_ATTEMPT = recharge_attempts


class AutoRechargeRow(NamedTuple):
    account_id: int
    state: str
    threshold_nanos: int
    amount_nanos: int
    daily_limit_nanos: int
    declines: int
    retry_at: datetime | None
    last_failure: str | None
    last_failure_at: datetime | None
    changed_at: datetime


class RechargeAttemptRow(NamedTuple):
    id: str
    account_id: int
    state: str
    amount_nanos: int
    threshold_nanos: int
    customer: str | None
    payment_method: str | None
    payment_intent: str | None
    started_at: datetime
    sent_at: datetime | None
    retry_at: datetime
    sends: int
    ended_at: datetime | None
    failure: str | None


async def put_settings(connection: WriteConnection, row: AutoRechargeRow) -> None:
    statement = upsert(connection, _SET).values(**row._asdict())
    changing = {name: statement.excluded[name] for name in AutoRechargeRow._fields if name != "account_id"}
    await connection.execute(statement.on_conflict_do_update(index_elements=["account_id"], set_=changing))


async def lock_settings(connection: WriteConnection, account_id: int) -> AutoRechargeRow | None:
    """Locks the account's settings. Lock them before changing an attempt, so that transactions do not deadlock."""
    statement = select(*columns(_SET, AutoRechargeRow)).where(_SET.c.account_id == account_id).with_for_update()
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else AutoRechargeRow._make(row)


async def forget_failure(connection: WriteConnection, account_id: int, failure: str) -> None:
    """Clears the failure, because its cause is gone: auto-recharge no longer waits because of it."""
    waits = (_SET.c.account_id == account_id, _SET.c.state == "active", _SET.c.last_failure == failure)
    cleared = {"retry_at": None, "last_failure": None, "last_failure_at": None}
    await connection.execute(update(_SET).where(*waits).values(**cleared))


def _started_in(first: str, last: str) -> Any:
    """Selects the attempts that count for a day's limit: those that were paid or may still be paid."""
    return and_(
        _ATTEMPT.c.started_at >= bindparam(first, type_=timestamp()),
        _ATTEMPT.c.started_at < bindparam(last, type_=timestamp()),
        _ATTEMPT.c.state != "failed",
    )


_DAY = select(func.coalesce(func.sum(_ATTEMPT.c.amount_nanos), 0)).where(
    _ATTEMPT.c.account_id == bindparam("account_id"), _started_in("first", "last")
)
_BELOW = (
    select(_SET.c.account_id)
    .join(tables.accounts, tables.accounts.c.id == _SET.c.account_id)
    .where(
        _SET.c.state == "active",
        tables.accounts.c.status == "active",
        tables.accounts.c.shard.is_(None),
        tables.accounts.c.balance_nanos < _SET.c.threshold_nanos,
        or_(_SET.c.retry_at.is_(None), _SET.c.retry_at <= bindparam("now", type_=timestamp())),
        ~exists().where(_ATTEMPT.c.account_id == _SET.c.account_id, _ATTEMPT.c.ended_at.is_(None)),
    )
    .order_by(_SET.c.account_id)
    .limit(bindparam("rows", type_=BigInteger()))
)
_DUE = (
    select(*columns(_ATTEMPT, RechargeAttemptRow))
    .where(
        _ATTEMPT.c.ended_at.is_(None),
        _ATTEMPT.c.retry_at <= bindparam("now", type_=timestamp()),
        is_here(_ATTEMPT.c.account_id),
    )
    .order_by(_ATTEMPT.c.retry_at, _ATTEMPT.c.id)
    .limit(bindparam("rows", type_=BigInteger()))
)
_IN_FLIGHT_OF = select(*columns(_ATTEMPT, RechargeAttemptRow)).where(
    _ATTEMPT.c.account_id == bindparam("account_id"), _ATTEMPT.c.ended_at.is_(None)
)


async def accounts_below(database: Database, now: datetime, limit: int) -> list[int]:
    """Returns active accounts below their threshold without a payment in flight."""
    return [row[0] for row in await database.read(_BELOW, {"now": now, "rows": limit})]


async def due_attempts(database: Database, now: datetime, limit: int) -> list[RechargeAttemptRow]:
    rows = await database.read(_DUE, {"now": now, "rows": limit})
    return [RechargeAttemptRow._make(row) for row in rows]


async def in_flight(connection: WriteConnection, account_id: int) -> RechargeAttemptRow | None:
    row = (await connection.execute(_IN_FLIGHT_OF, {"account_id": account_id})).one_or_none()
    return None if row is None else RechargeAttemptRow._make(row)


async def nanos_of_day(connection: WriteConnection, account_id: int, first: datetime, last: datetime) -> int:
    """Returns the sum requested from the first moment to before the last, without failed attempts."""
    parameters = {"account_id": account_id, "first": first, "last": last}
    return int((await connection.execute(_DAY, parameters)).scalar_one())


class RechargeViewRow(NamedTuple):
    """An account's settings and today's payments."""

    account_id: int
    state: str
    threshold_nanos: int
    amount_nanos: int
    daily_limit_nanos: int
    declines: int
    retry_at: datetime | None
    last_failure: str | None
    last_failure_at: datetime | None
    charged_nanos: int
    """Sum paid or in flight, from the first moment to before the last."""
    in_flight: bool


@lru_cache(maxsize=2)
def _views_statement(postgresql: bool) -> Select[Any]:
    of_account = _ATTEMPT.c.account_id == _SET.c.account_id
    sum_of_account = select(func.coalesce(func.sum(_ATTEMPT.c.amount_nanos), 0)).where(
        of_account, _started_in("first", "last")
    )
    charged = sum_of_account.correlate(_SET).scalar_subquery()
    return select(
        *(_SET.c[name] for name in RechargeViewRow._fields[:-2]),
        cast(charged, BigInteger()) if postgresql else charged,
        exists().where(of_account, _ATTEMPT.c.ended_at.is_(None)).correlate(_SET),
    ).where(is_one_of(_SET.c.account_id, "account_ids", postgresql=postgresql))


def recharge_views(
    postgresql: bool, account_ids: Sequence[int], day: tuple[datetime, datetime]
) -> Read[dict[int, RechargeViewRow | None]]:
    """Reads the views. None for an account that never set auto-recharge."""

    def views(found: Sequence[Rows]) -> dict[int, RechargeViewRow | None]:
        of_each: dict[int, RechargeViewRow | None] = dict.fromkeys(account_ids)
        for row in found[0]:
            view = RechargeViewRow._make(row)
            of_each[view.account_id] = view._replace(
                charged_nanos=int(view.charged_nanos), in_flight=bool(view.in_flight)
            )
        return of_each

    parameters = {"account_ids": list(account_ids), "first": day[0], "last": day[1]}
    return Read((Wanted(_views_statement(postgresql), parameters),), views)


async def insert_attempt(connection: WriteConnection, row: RechargeAttemptRow) -> None:
    await connection.execute(_ATTEMPT.insert().values(**row._asdict()))


async def lock_attempt(connection: WriteConnection, attempt_id: str) -> RechargeAttemptRow | None:
    statement = select(*columns(_ATTEMPT, RechargeAttemptRow)).where(_ATTEMPT.c.id == attempt_id).with_for_update()
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else RechargeAttemptRow._make(row)


async def attempt_by_id(connection: WriteConnection, attempt_id: str) -> RechargeAttemptRow | None:
    statement = select(*columns(_ATTEMPT, RechargeAttemptRow)).where(_ATTEMPT.c.id == attempt_id)
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else RechargeAttemptRow._make(row)


async def update_attempt(connection: WriteConnection, row: RechargeAttemptRow) -> None:
    await connection.execute(update(_ATTEMPT).where(_ATTEMPT.c.id == row.id).values(**row._asdict()))
