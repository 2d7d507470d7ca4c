"""The directory of shard 0: the shard that decides about an external id or a call. Entries are never changed."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import literal, select, update

from db import tables
from db.database import WriteConnection
from db.shard_tables import shard_creations, shard_external_ids, shards
from db.statements import columns
from db.writes import upsert


class CreationRow(NamedTuple):
    key: str
    payload_digest: bytes
    number: int


async def lock_shards(connection: WriteConnection) -> list[tuple[int, int]]:
    """Locks the list of shards, and so the directory. Returns the shards with the number of accounts placed on each."""
    statement = select(shards.c.number, shards.c.accounts).order_by(shards.c.number).with_for_update()
    return [(row[0], row[1]) for row in await connection.execute(statement)]


async def creation(connection: WriteConnection, key: str) -> CreationRow | None:
    statement = select(*columns(shard_creations, CreationRow)).where(shard_creations.c.key == key)
    row = (await connection.execute(statement)).first()
    return CreationRow._make(row) if row else None


async def is_older_creation(connection: WriteConnection, operation: str, key: str) -> bool:
    """Returns whether shard 0 has the call. It has those from before the set was made."""
    act = tables.idempotent_acts
    statement = select(literal(1)).where(act.c.scope == "", act.c.operation == operation, act.c.key == key)
    return (await connection.execute(statement)).first() is not None


async def put_creation(connection: WriteConnection, row: CreationRow, created_at: object) -> None:
    statement = upsert(connection, shard_creations).values(**row._asdict(), created_at=created_at)
    await connection.execute(statement)


async def shard_of_external_id(connection: WriteConnection, external_id: str) -> int | None:
    """Returns the shard that decides about the id. An account of shard 0 may be older than the directory."""
    listed = select(shard_external_ids.c.number).where(shard_external_ids.c.external_id == external_id)
    older = select(literal(0)).where(tables.accounts.c.external_id == external_id)
    found = (await connection.execute(listed)).scalar_one_or_none()
    return found if found is not None else (await connection.execute(older)).scalar_one_or_none()


async def put_external_id(connection: WriteConnection, external_id: str, number: int) -> None:
    await connection.execute(upsert(connection, shard_external_ids).values(external_id=external_id, number=number))


async def count_placed(connection: WriteConnection, number: int) -> None:
    placed = update(shards).where(shards.c.number == number).values(accounts=shards.c.accounts + 1)
    await connection.execute(placed)
