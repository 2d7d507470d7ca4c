"""Instances: inference instances whose cycles the worker ends, and open holds whose time is over."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Select, bindparam, exists, select

from db import tables, writes
from db.database import Database, WriteConnection
from db.rows import HoldRow
from db.statements import columns, is_here
from db.tables import timestamp
from db.volume_tables import inference_instances
from db.volumes import ResourceKey
from db.writes import upsert

_INSTANCE = inference_instances
_HOLD = tables.holds


class InstanceRow(NamedTuple):
    account_id: int
    ref_id: str
    reported_at: datetime
    to_stop_since: datetime | None


_INSTANCE_BY_KEY = select(*columns(_INSTANCE, InstanceRow)).where(
    _INSTANCE.c.account_id == bindparam("account_id"), _INSTANCE.c.ref_id == bindparam("ref_id")
)


def _ended() -> Select[Any]:
    """Selects open holds that have ended, earliest end first."""
    return (
        select(_HOLD.c.account_id, _HOLD.c.ref_type, _HOLD.c.ref_id)
        .where(
            _HOLD.c.state == "open",
            _HOLD.c.period_end <= bindparam("ended", type_=timestamp()),
            is_here(_HOLD.c.account_id),
        )
        .order_by(_HOLD.c.period_end, _HOLD.c.account_id, _HOLD.c.hold_seq)
        .limit(bindparam("rows", type_=BigInteger()))
    )


# An instance that its service has not reported since its cycle began is not renewed, but expires.
_RENEWED = (
    exists()
    .where(
        _INSTANCE.c.account_id == _HOLD.c.account_id,
        _INSTANCE.c.ref_id == _HOLD.c.ref_id,
        _INSTANCE.c.reported_at >= _HOLD.c.period_start,
        _HOLD.c.ref_type == "inference_instance",
    )
    .correlate(_HOLD)
)
_ENDED_CYCLES = _ended().where(_RENEWED)
_ABANDONED = _ended().where(~_RENEWED)


async def instance(connection: WriteConnection, account_id: int, ref_id: str) -> InstanceRow | None:
    parameters = {"account_id": account_id, "ref_id": ref_id}
    row = (await connection.execute(_INSTANCE_BY_KEY, parameters)).one_or_none()
    return None if row is None else InstanceRow._make(row)


async def put_instance(connection: WriteConnection, row: InstanceRow) -> None:
    statement = upsert(connection, _INSTANCE).values(**row._asdict())
    changing = {name: statement.excluded[name] for name in ("reported_at", "to_stop_since")}
    await connection.execute(statement.on_conflict_do_update(index_elements=list(_INSTANCE.primary_key), set_=changing))


async def newest_hold(connection: WriteConnection, key: ResourceKey) -> HoldRow | None:
    """Returns the resource's newest hold. Its account must be locked."""
    charges = await writes.charges_by_ref(connection, [key])
    return (await writes.newest_holds(connection, charges.values())).get(key)


async def ended_cycles(database: Database, ended: datetime, limit: int) -> list[ResourceKey]:
    """Returns inference instances with a rate whose cycle has ended."""
    return [tuple(row) for row in await database.read(_ENDED_CYCLES, {"ended": ended, "rows": limit})]


async def abandoned_holds(database: Database, ended: datetime, limit: int) -> list[ResourceKey]:
    """Returns all other resources with an open hold whose time is over."""
    return [tuple(row) for row in await database.read(_ABANDONED, {"ended": ended, "rows": limit})]
