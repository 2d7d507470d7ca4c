"""Posting on SQLite: the transaction began IMMEDIATE and is the only writer, so it needs no locks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Table, bindparam, update
from sqlalchemy.dialects.sqlite import insert

from db import limit_tables, tables, usage_writes, writes
from db.database import WriteConnection
from db.limits import (
    CHANGING_OF_AUTHORIZATIONS,
    CHANGING_OF_LIMITS,
    newest_on_sqlite,
    read_authorizations,
    read_limits,
    read_reservations,
)
from db.posting.state import ChangeSet, PostingKeys, StoredState
from db.rows import (
    AccountRow,
    ChargeRow,
    HoldRow,
    IdempotencyRow,
    TransactionRow,
    values_of_transaction,
)


async def open_accounts(connection: WriteConnection, keys: PostingKeys, now: datetime) -> StoredState:
    charges = await writes.charges_by_ref(connection, keys.charges) if keys.charges else {}
    return StoredState(
        await writes.lock_accounts(connection, keys.accounts),
        await writes.idempotent_calls(connection, keys.calls) if keys.calls else {},
        charges,
        await writes.newest_holds(connection, charges.values()) if charges else {},
        await usage_writes.known_requests(connection, keys.requests) if keys.requests else set(),
        await usage_writes.usage_days(connection, keys.days) if keys.days else {},
        await read_limits(connection, keys.accounts),
        await read_authorizations(connection, keys.authorizations) if keys.authorizations else (),
        await read_reservations(connection, keys.reserved, now) if keys.reserved else {},
        await newest_on_sqlite(connection, keys.reserving),
    )


async def keep(connection: WriteConnection, changes: ChangeSet) -> None:
    await _insert_transactions(connection, changes.rows)
    await _update_heads(connection, changes.heads)
    await _put_charges(connection, changes.charges)
    await _put_holds(connection, changes.holds)
    await writes.add_to_months(connection, changes.months)
    await _insert_idempotent_calls(connection, changes.calls)
    await usage_writes.insert_requests(connection, changes.requests)
    await usage_writes.put_usage_days(connection, changes.days)
    await usage_writes.put_usage(connection, changes.hours, changes.prices, changes.details)
    await usage_writes.add_cost_hours(connection, changes.costs)
    await _replace_all(connection, limit_tables.authorizations, changes.authorizations, CHANGING_OF_AUTHORIZATIONS)
    await _replace_all(connection, limit_tables.spend_limits, changes.limits, CHANGING_OF_LIMITS)
    events = [event._asdict() for event in changes.limit_events]
    await _insert_all(connection, limit_tables.spend_limit_events, events)


async def _insert_all(connection: WriteConnection, table: Table, values: Sequence[dict[str, Any]]) -> None:
    if values:
        await connection.execute(insert(table), values)


async def _insert_transactions(connection: WriteConnection, rows: Iterable[TransactionRow]) -> None:
    await _insert_all(connection, tables.transactions, [values_of_transaction(row) for row in rows])


async def _insert_idempotent_calls(connection: WriteConnection, rows: Iterable[IdempotencyRow]) -> None:
    await _insert_all(connection, tables.idempotency_keys, [row._asdict() for row in rows])


async def _update_heads(connection: WriteConnection, heads: Sequence[AccountRow]) -> None:
    if not heads:
        return
    table = tables.accounts
    statement = (
        update(table)
        .where(table.c.id == bindparam("of_id"))
        .values(
            head_seq=bindparam("seq"),
            head_at=bindparam("at"),
            head_hash=bindparam("digest"),
            balance_nanos=bindparam("balance"),
        )
    )
    await connection.execute(
        statement,
        [
            {
                "of_id": head.id,
                "seq": head.head_seq,
                "at": head.head_at,
                "digest": head.head_hash,
                "balance": head.balance_nanos,
            }
            for head in heads
        ],
    )


async def _replace_all(
    connection: WriteConnection, table: Table, rows: Iterable[NamedTuple], changing: Sequence[str]
) -> None:
    values = [row._asdict() for row in rows]
    if not values:
        return
    statement = insert(table)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={name: statement.excluded[name] for name in changing},
        ),
        values,
    )


async def _put_holds(connection: WriteConnection, rows: Iterable[HoldRow]) -> None:
    await _replace_all(connection, tables.holds, rows, writes.CHANGING_OF_HOLDS)


async def _put_charges(connection: WriteConnection, rows: Iterable[ChargeRow]) -> None:
    await _replace_all(connection, tables.charges, rows, writes.CHANGING_OF_CHARGES)
