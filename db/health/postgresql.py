from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db import tables
from db.clocks import SERVER_TIME, Clock, reading_between
from db.errors import DatabaseError, DatabaseFull, translated
from db.health.health import OK, UNKNOWN, Health, readable, refusal, schema_of
from db.health.shared import SharedCheck

DISK_SECONDS: Final = 5.0
"""How long what was found out about the disk is taken for true."""

_STATE: Final = select(
    func.pg_is_in_recovery(),
    func.current_setting("transaction_read_only"),
    SERVER_TIME,
    text("(SELECT checksum_failures FROM pg_stat_database WHERE datname = current_database())"),
)
_READ: Final = select(tables.accounts.c.id).limit(1)
# A lock on a row is written to the row, and to the log; another check that has it is not waited for.
_WRITE: Final = select(tables.schema_compatibility).with_for_update(skip_locked=True, key_share=True)
# Kept outside of memory, in a file of about one megabyte beside the tables: a write that leaves nothing behind.
_SMALL_MEMORY: Final = text("SET LOCAL work_mem = '64kB'")
_SPILL: Final = text("SELECT count(*) FROM generate_series(1, 50000)")


class PostgresHealth:
    def __init__(self, engine: AsyncEngine, *, knows_archive: bool) -> None:
        """`engine` has one connection, for this."""
        self._readable = partial(readable, knows_archive=knows_archive)
        self._engine = engine
        self._disk = UNKNOWN
        self._disk_until = 0.0
        self._shared = SharedCheck(self._look)

    async def look(self, clock: Clock) -> Health:
        return await self._shared.look(clock)

    async def _look(self, clock: Clock) -> Health:
        health = Health()
        try:
            with translated():
                async with self._engine.connect() as connection:
                    health = replace(health, reachable=OK)
                    schema, found = await connection.run_sync(schema_of)
                    health = replace(health, schema=schema, tables=found)
                    before = clock()
                    standby, read_only, server, failures = (await connection.execute(_STATE)).one()
                    health = _with_state(health, standby=standby, read_only=read_only == "on", failures=failures)
                    health = replace(health, clock=reading_between(before, server, clock()))
                    if found is not None:
                        await connection.execute(_READ)
                        health = replace(health, readable=await connection.run_sync(self._readable))
                    await connection.rollback()
                    if found is not None and health.writable == UNKNOWN:
                        health = replace(health, writable=await refusal(self._write(connection)))
                        health = replace(health, disk=await self._looked_at_disk(connection))
        except DatabaseError as error:
            return health.failed(str(error))
        return health

    async def _write(self, connection: AsyncConnection) -> None:
        await connection.execute(_WRITE)
        await connection.rollback()

    async def _looked_at_disk(self, connection: AsyncConnection) -> str:
        now = asyncio.get_running_loop().time()
        if now >= self._disk_until:
            await connection.rollback()
            self._disk, self._disk_until = await refusal(self._fill(connection), DatabaseFull), now + DISK_SECONDS
        return self._disk

    async def _fill(self, connection: AsyncConnection) -> None:
        await connection.execute(_SMALL_MEMORY)
        await connection.execute(_SPILL)
        await connection.rollback()

    async def close(self) -> None:
        await self._shared.close()


def _with_state(health: Health, *, standby: bool, read_only: bool, failures: int | None) -> Health:
    if standby:
        health = replace(health, writable="the database server is a standby: it takes no writes")
    elif read_only:
        health = replace(health, writable="the database server is read-only")
    if failures is None:
        return health
    warning = f"the database server found {failures} pages whose checksum is wrong"
    return replace(health, corrupt=OK, warnings=(warning,) if failures else ())
