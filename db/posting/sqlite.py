"""Posting on SQLite: its transaction began IMMEDIATE and is the only writer, so nothing has to be locked."""

from __future__ import annotations

from db import usage_writes, writes
from db.database import WriteConnection
from db.posting.state import ChangeSet, PostingKeys, StoredState


async def open_accounts(connection: WriteConnection, keys: PostingKeys) -> StoredState:
    charges = await writes.charges_by_ref(connection, keys.charges) if keys.charges else {}
    return StoredState(
        await writes.lock_accounts(connection, keys.accounts),
        await writes.idempotent_calls(connection, keys.calls) if keys.calls else {},
        charges,
        await writes.newest_holds(connection, charges.values()) if charges else {},
        await usage_writes.known_requests(connection, keys.requests) if keys.requests else set(),
        await usage_writes.usage_days(connection, keys.days) if keys.days else {},
    )


async def keep(connection: WriteConnection, changes: ChangeSet) -> None:
    await writes.insert_transactions(connection, changes.rows)
    await writes.update_heads(connection, changes.heads)
    await writes.put_charges(connection, changes.charges)
    await writes.put_holds(connection, changes.holds)
    await writes.add_to_months(connection, changes.months)
    await writes.insert_idempotent_calls(connection, changes.calls)
    await usage_writes.insert_requests(connection, changes.requests)
    await usage_writes.put_usage_days(connection, changes.days)
