"""Statements that post. All run in the caller's transaction, on accounts that it has locked."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Executable, Table, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from db import tables
from db.archive.past import past_rows
from db.archive.reach import Reach
from db.connections.snapshots import Read, Wanted
from db.database import Database
from db.errors import DuplicateKey
from db.folding import folded_column
from db.keyed_rows import is_postgresql, rows_with_keys
from db.rows import (
    AccountRow,
    ChargeRow,
    HoldRow,
    IdempotencyRow,
    MonthlyFiguresRow,
    TransactionRow,
)
from db.shards import with_id
from db.statements import columns

CHANGING_OF_HOLDS: Final = ("state", "used_nanos", "settled_seq", "settled_at", "expired_at")
CHANGING_OF_CHARGES: Final = ChargeRow._fields[3:]


def upsert(connection: AsyncConnection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if is_postgresql(connection) else sqlite.insert(table)


async def insert_account(
    connection: AsyncConnection, *, external_id: str | None, name: str, created_at: datetime
) -> AccountRow:
    """Creates an account. Raises DuplicateKey if the external id is taken, even by a concurrent transaction."""
    statement = (
        upsert(connection, tables.accounts)
        .values(
            external_id=external_id,
            name=name,
            created_at=created_at,
            name_folded=folded_column(name),
            external_id_folded=folded_column(external_id),
            **with_id(connection, tables.accounts.c.id),
        )
        .on_conflict_do_nothing(index_elements=["external_id"])
        .returning(*columns(tables.accounts, AccountRow))
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise DuplicateKey("the external id is taken")
    return AccountRow._make(row)


async def accounts_by_external_id(connection: AsyncConnection, external_ids: Collection[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    names = sorted(external_ids)
    for start in range(0, len(names), 500):
        statement = select(tables.accounts.c.external_id, tables.accounts.c.id).where(
            tables.accounts.c.external_id.in_(names[start : start + 500])
        )
        found.update((row[0], row[1]) for row in await connection.execute(statement))
    return found


async def lock_accounts(connection: AsyncConnection, account_ids: Collection[int]) -> dict[int, AccountRow]:
    """Locks the accounts and returns them. Locks them in the order of their ids, so that two batches do not deadlock.
    An account that is on another shard is not found.

    SQLite needs no lock: the transaction began IMMEDIATE and is the only writer.
    """
    statement = (
        select(*columns(tables.accounts, AccountRow))
        .where(tables.accounts.c.id.in_(sorted(account_ids)), tables.accounts.c.shard.is_(None))
        .order_by(tables.accounts.c.id)
        .with_for_update(key_share=True)
    )
    return {row[0]: AccountRow._make(row) for row in await connection.execute(statement)}


async def touch_accounts(connection: AsyncConnection, account_ids: Collection[int]) -> None:
    """Gives locked accounts a new version, so that changes computed from the old version are not written
    (`db/posting`)."""
    if is_postgresql(connection):
        table = tables.accounts
        touched = update(table).where(table.c.id.in_(sorted(account_ids))).values(status=table.c.status)
        await connection.execute(touched)


async def update_status(connection: AsyncConnection, account_id: int, status: str) -> None:
    """Updates the status of a locked account."""
    table = tables.accounts
    await connection.execute(update(table).where(table.c.id == account_id).values(status=status))


async def idempotent_calls(
    connection: AsyncConnection, keys: Collection[tuple[int, str, str]]
) -> dict[tuple[int, str, str], IdempotencyRow]:
    """Reads calls by (account, operation, key)."""
    table = tables.idempotency_keys
    rows = await rows_with_keys(connection, tuple(columns(table, IdempotencyRow)), tuple(table.primary_key), keys)
    return {tuple(row[:3]): IdempotencyRow._make(row) for row in rows}


_ROW: Final = tables.transactions

_ROWS_BETWEEN: Final = (
    select(*columns(_ROW, TransactionRow))
    .where(
        _ROW.c.account_id == bindparam("account_id", type_=BigInteger()),
        _ROW.c.seq >= bindparam("first_seq", type_=BigInteger()),
        _ROW.c.seq <= bindparam("last_seq", type_=BigInteger()),
    )
    .order_by(_ROW.c.seq)
)


async def rows_between(
    connection: AsyncConnection, account_id: int, first_seq: int, last_seq: int
) -> list[TransactionRow]:
    """Returns the rows, archived ones too."""
    given = {"account_id": account_id, "first_seq": first_seq, "last_seq": last_seq}
    reach = Reach(first_seq - 1, last_seq + 1)
    past = past_rows(account_id, reach, Read((Wanted(_ROWS_BETWEEN, given),), lambda rows: rows[0]))
    async with Database.snapshot_within(connection) as snapshot:
        return [TransactionRow._make(row) for row in await snapshot.rows(_ROWS_BETWEEN, given, past)]


async def charges_by_ref(
    connection: AsyncConnection, refs: Collection[tuple[int, str, str]]
) -> dict[tuple[int, str, str], ChargeRow]:
    """Reads charges by (account, ref type, ref id)."""
    table = tables.charges
    rows = await rows_with_keys(connection, tuple(columns(table, ChargeRow)), tuple(table.primary_key), refs)
    return {tuple(row[:3]): ChargeRow._make(row) for row in rows}


async def newest_holds(
    connection: AsyncConnection, charges: Collection[ChargeRow]
) -> dict[tuple[int, str, str], HoldRow]:
    """Reads the newest hold of each charge, by (account, ref type, ref id): only that one can be open."""
    table = tables.holds
    keys = [(charge.account_id, charge.hold_seq) for charge in charges if charge.hold_seq is not None]
    rows = await rows_with_keys(connection, tuple(columns(table, HoldRow)), tuple(table.primary_key), keys)
    holds = [HoldRow._make(row) for row in rows]
    return {(hold.account_id, hold.ref_type, hold.ref_id): hold for hold in holds}


async def add_to_months(connection: AsyncConnection, increments: Iterable[MonthlyFiguresRow]) -> None:
    """Adds each row's figures to those of its account and month. The accounts must be locked."""
    await add_figures(connection, tables.monthly_figures, sorted(increments), MonthlyFiguresRow._fields[2:])


async def add_figures(
    connection: AsyncConnection, table: Table, rows: Collection[NamedTuple], figures: tuple[str, ...]
) -> None:
    """Adds each row's figures to those of the stored row with its key."""
    if rows:
        statement = _adding(is_postgresql(connection), table, figures)
        await connection.execute(statement, [row._asdict() for row in rows])


@lru_cache(maxsize=8)
def _adding(is_postgres: bool, table: Table, figures: tuple[str, ...]) -> Executable:
    statement = postgresql.insert(table) if is_postgres else sqlite.insert(table)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: table.c[name] + statement.excluded[name] for name in figures},
    )
