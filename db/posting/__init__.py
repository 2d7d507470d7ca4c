"""Posting: reads the state that posting depends on, and writes its changes, in a transaction with locked accounts.

`postgresql` also does both without locks, for calls that share a commit.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import asyncpg

from db import writes
from db.clocks import Clock, utc_now
from db.database import POSTED_ACCOUNTS, WriteConnection
from db.keyed_rows import is_postgresql
from db.posting import sqlite
from db.posting.postgresql import keep_unlocked, open_unlocked
from db.posting.state import ChangeSet, PostingKeys, StoredState


async def _driver(connection: WriteConnection) -> asyncpg.Connection[Any]:
    raw: asyncpg.Connection[Any] | None = (await connection.get_raw_connection()).driver_connection
    assert raw is not None
    return raw


async def open_locked(
    connection: WriteConnection, keys: PostingKeys, now: datetime, clock: Clock = utc_now
) -> StoredState:
    """Locks the accounts until the transaction ends, and reads their state.

    Reservations are those of the moment `now`. `clock` is this machine's.
    """
    if not is_postgresql(connection):
        return await sqlite.open_accounts(connection, keys, now)
    await writes.lock_accounts(connection, keys.accounts)
    # A read in the statement that waits for the lock could return data from before the lock.
    return await open_unlocked(await _driver(connection), keys, now, clock)


async def keep_locked(connection: WriteConnection, stored: StoredState, changes: ChangeSet) -> None:
    if not is_postgresql(connection):
        await sqlite.keep(connection, changes)
    elif changes.heads:
        held = await keep_unlocked(await _driver(connection), stored, changes, together=True)
        assert len(held) == len(changes.heads), "the accounts are locked"
    assert connection.sync_connection is not None
    connection.sync_connection.get_execution_options()[POSTED_ACCOUNTS].update(changes.rows_by_account)
