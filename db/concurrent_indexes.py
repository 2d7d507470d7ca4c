"""Indexes that migrations add to tables which are in use and may be large.

On PostgreSQL, `CREATE INDEX` lets nobody write to the table until it is done, `CREATE INDEX CONCURRENTLY` does. That
cannot run in the transaction of a migration, and may fail half-way. So it is done after the migrations, and an index
that is missing is built by the next `billing-gateway migrate`. Programs must work without it, if slowly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

_LOCK: Final = 7_245_310_907
_RETRY_SECONDS: Final = 0.2

_VALID: Final = text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")

log = structlog.get_logger()


def build_now(connection: Connection, indexes: Mapping[str, str]) -> None:
    """Builds those that are missing in the transaction. SQLite only. `indexes` are those of `build_missing`."""
    for name, on in indexes.items():
        connection.execute(text(f"CREATE INDEX IF NOT EXISTS {name} ON {on}"))


async def build_missing(connection: AsyncConnection, indexes: Mapping[str, str]) -> None:
    """Builds those that are missing or were left half-built, by name: `{"ix_charges_month": "charges (account_id,
    month)"}`. PostgreSQL only; the connection commits each statement by itself."""
    await _lock(connection)
    try:
        for name, on in indexes.items():
            await _build(connection, name, on)
    finally:
        await connection.execute(text(f"SELECT pg_advisory_unlock({_LOCK})"))


async def _lock(connection: AsyncConnection) -> None:
    """Takes turns with other processes. To wait for the lock within a statement would hold up their builds, which wait
    for all statements."""
    while True:
        if await connection.scalar(text(f"SELECT pg_try_advisory_lock({_LOCK})")):
            return
        await asyncio.sleep(_RETRY_SECONDS)


async def _build(connection: AsyncConnection, name: str, on: str) -> None:
    is_valid = await connection.scalar(_VALID, {"name": name})
    if is_valid:
        return
    if is_valid is False:
        await connection.execute(text(f"DROP INDEX CONCURRENTLY {name}"))
    log.info("building an index: others may write meanwhile", index=name)
    await connection.execute(text(f"CREATE INDEX CONCURRENTLY {name} ON {on}"))
