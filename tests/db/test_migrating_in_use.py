"""Migrations of a long ledger on PostgreSQL while the statements of an older release and the new release go on.

`MIGRATED_ROWS` is the number of its rows.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg
import pytest

from db.database import Database, DatabaseOptions
from db.schema_version import _migrated_once, _migrations
from tests.db.test_schema_version import _migrate_to
from tests.gateway.mutations.office import opened
from tests.postgres import Postgres

ROWS: Final = int(os.environ.get("MIGRATED_ROWS", "10000"))
FIRST: Final = "0008"
LONG: Final = {"0009", "0012"}
"""Migrations that compute something of each row while they keep others off the table. They stop older programs anyway,
which would write rows without it."""
LONGEST_SECONDS: Final = 3.0
"""How long others may wait at most, with all that a busy machine adds: a migration waits for a table for at most a
second, and others wait behind it."""

_COLUMNS: Final = (
    "account_id, seq, created_at, type, amount_nanos, balance_after_nanos, description, source, ref_type, ref_id,"
    " actor, hash"
)
_ROW: Final = "'gpu_usage', -5, -5 * {seq}, 'GPU', 'metering', 'gpu_instance', 'g-1', 'eco_x', '\\x{hash}'::bytea"
_HASH: Final = "00" * 32
_FILL: Final = f"""
INSERT INTO transactions ({_COLUMNS})
SELECT 1, seq, timestamptz '2026-01-01' + seq * interval '10 seconds', {_ROW.format(seq="seq", hash=_HASH)}
  FROM generate_series(1, {ROWS}) AS seq
"""
_HEAD: Final = "SELECT head_seq FROM accounts WHERE id = 1 FOR NO KEY UPDATE"
_NEW: Final = _ROW.format(seq="$1::bigint", hash=_HASH)
_WRITE: Final = f"INSERT INTO transactions ({_COLUMNS}) SELECT 1, $1::bigint, now(), {_NEW}"
_KEEP: Final = "UPDATE accounts SET head_seq = $1, head_at = now(), balance_nanos = balance_nanos - 5 WHERE id = 1"
_READ: Final = f"SELECT {_COLUMNS} FROM transactions WHERE account_id = 1 ORDER BY seq DESC LIMIT 50"


@dataclass
class OldRelease:
    """Reads and writes as a release of version 0008 does."""

    url: dict[str, Any]
    version: str = FIRST
    waits: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Longest time that a read or a write took, by the version that others migrated to."""
    written: int = 0

    async def write(self) -> None:
        async with self._connected() as connection:
            while True:
                async with self._timed(), connection.transaction():
                    seq = await connection.fetchval(_HEAD) + 1
                    await connection.execute(_WRITE, seq)
                    await connection.execute(_KEEP, seq)
                self.written += 1
                await asyncio.sleep(0.005)

    async def read(self) -> None:
        async with self._connected() as connection:
            while True:
                async with self._timed():
                    assert len(await connection.fetch(_READ)) == 50
                await asyncio.sleep(0.005)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(**self.url, statement_cache_size=0)
        try:
            yield connection
        finally:
            connection.terminate()

    @asynccontextmanager
    async def _timed(self) -> AsyncIterator[None]:
        began, version = time.monotonic(), self.version
        yield
        self.waits[version] = max(self.waits[version], round(time.monotonic() - began, 2))


@pytest.fixture
async def filled(postgres_server: Postgres) -> AsyncIterator[tuple[str, Database]]:
    """A database of version 0008 with a long ledger."""
    name = await postgres_server.new_database()
    database = Database(DatabaseOptions(postgres_server.url(name)))
    await _migrate_to(database, FIRST)
    for statement in (
        f"INSERT INTO accounts (id, name, created_at, head_seq) VALUES (1, 'One', now(), {ROWS})",
        _FILL,
        "ANALYZE",
    ):
        await postgres_server.execute(statement, name)
    yield name, database
    await database.close()


async def _use_the_new_release(url: str) -> None:
    async with opened(url) as office:
        for _ in range(5):
            await office.call("grantBonus", accountId="acct_1", amount="1.00", promotion="new")
            found = await office.query('{ account(id: "acct_1") { transactions(first: 5) { nodes { id } } } }')
            assert len(found["account"]["transactions"]["nodes"]) == 5


async def test_releases_side_by_side(filled: tuple[str, Database], postgres_server: Postgres) -> None:
    name, database = filled
    old = OldRelease({"user": postgres_server.user, "database": name, "host": postgres_server.host})
    living = [asyncio.create_task(old.write()), asyncio.create_task(old.read())]
    try:
        for script in _migrations():
            if script.revision > FIRST:
                old.version = script.revision
                await asyncio.sleep(0.1)
                await _migrated_once(database)
        await asyncio.sleep(0.1)
        old.version = "side by side"
        await _use_the_new_release(postgres_server.url(name))
        assert [task.exception() for task in living if task.done()] == []
    finally:
        for task in living:
            task.cancel()
        await asyncio.wait(living)
    sys.stdout.write(f"\nlongest waits in seconds: {old.waits}\n")
    assert old.written > 10
    assert {one for one, seconds in old.waits.items() if seconds > LONGEST_SECONDS} <= LONG
