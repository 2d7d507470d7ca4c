"""Volumes: how far they are billed, and the rates of all resources that are billed by time."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import BigInteger, Date, bindparam, select

from db.database import Database, WriteConnection
from db.keyed_rows import rows_with_keys
from db.statements import columns, is_here
from db.volume_tables import rates, volumes
from db.writes import upsert

ResourceKey = tuple[int, str, str]

_VOLUME = volumes
_RATE = rates


class VolumeRow(NamedTuple):
    account_id: int
    ref_type: str
    ref_id: str
    created_at: datetime
    deleted_at: datetime | None
    next_day: date | None
    api_key: str | None = None
    project: str | None = None


class RateRow(NamedTuple):
    account_id: int
    ref_type: str
    ref_id: str
    since: datetime
    quantity: int
    price_nanos: int


_DUE = (
    select(_VOLUME.c.account_id, _VOLUME.c.ref_type, _VOLUME.c.ref_id)
    .where(_VOLUME.c.next_day <= bindparam("last_day", type_=Date()), is_here(_VOLUME.c.account_id))
    .order_by(_VOLUME.c.next_day, _VOLUME.c.account_id, _VOLUME.c.ref_type, _VOLUME.c.ref_id)
    .limit(bindparam("rows", type_=BigInteger()))
)


async def due(database: Database, last_day: date, limit: int) -> list[ResourceKey]:
    """Returns volumes with unbilled days up to this day, those furthest behind first."""
    return [tuple(row) for row in await database.read(_DUE, {"last_day": last_day, "rows": limit})]


async def volumes_by_key(connection: WriteConnection, keys: Collection[ResourceKey]) -> dict[ResourceKey, VolumeRow]:
    rows = await rows_with_keys(connection, tuple(columns(_VOLUME, VolumeRow)), tuple(_VOLUME.primary_key), keys)
    return {tuple(row[:3]): VolumeRow._make(row) for row in rows}


async def put_volume(connection: WriteConnection, row: VolumeRow) -> None:
    statement = upsert(connection, _VOLUME).values(**row._asdict())
    changing = {name: statement.excluded[name] for name in ("deleted_at", "next_day")}
    await connection.execute(statement.on_conflict_do_update(index_elements=list(_VOLUME.primary_key), set_=changing))


async def rates_by_key(connection: WriteConnection, keys: Collection[ResourceKey]) -> dict[ResourceKey, list[RateRow]]:
    """Returns the rates of each resource, oldest first."""
    key = tuple(_RATE.c[name] for name in RateRow._fields[:3])
    found: dict[ResourceKey, list[RateRow]] = {one: [] for one in keys}
    for row in await rows_with_keys(connection, tuple(columns(_RATE, RateRow)), key, keys):
        rate = RateRow._make(row)
        if rate not in found[rate[:3]]:
            found[rate[:3]].append(rate)
    for listed in found.values():
        listed.sort()
    return found


async def put_rate(connection: WriteConnection, row: RateRow) -> None:
    """Stores a rate. Replaces a rate that began at the same moment."""
    statement = upsert(connection, _RATE).values(**row._asdict())
    changing = {name: statement.excluded[name] for name in ("quantity", "price_nanos")}
    await connection.execute(statement.on_conflict_do_update(index_elements=list(_RATE.primary_key), set_=changing))
