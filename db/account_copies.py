"""Copies of an account on another shard: which rows belong to an account, and statements that copy and remove them.

The copy is not in use while `accounts.shard` names another shard: nothing but these statements finds it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import asyncpg
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Executable,
    Select,
    String,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    literal,
    or_,
    select,
    tuple_,
    union_all,
    update,
)

from db import (
    attribution_tables,
    company_tables,
    integrity_tables,
    limit_tables,
    shard_tables,
    stripe_tables,
    tables,
    volume_tables,
)
from db.database import Database, WriteConnection
from db.keyed_rows import is_postgresql
from db.moved_accounts import Moved, PendingMove, mark, store_place
from db.shard_tables import account_moves, moved_accounts
from db.shards import largest_id
from db.statements import columns

CopiedTable = Table
Read = Callable[[Executable, dict[str, Any]], Awaitable[Sequence[Any]]]

KEPT: Final = frozenset(
    {
        *(shard_tables.shard_membership, shard_tables.shards),
        *(shard_tables.shard_external_ids, shard_tables.shard_creations),
        *(shard_tables.shard_stripe_customers, shard_tables.shard_stripe_events),
        *(moved_accounts, account_moves),
        *(tables.schema_compatibility, integrity_tables.verification_runs),
        # Moving is refused while an account has archived rows.
        integrity_tables.ledger_archives,
        # Events stay where they came in. An open one follows its account when it is tried again.
        stripe_tables.stripe_events,
    }
)
"""Tables of which no row moves with an account."""

LEDGER: Final = tables.transactions

COPIED: Final = tuple(
    table
    for table in tables.metadata.sorted_tables
    if table is tables.tokens or table is tables.accounts or ("account_id" in table.c and table not in KEPT)
)
"""Tables with rows of accounts, those that others refer to first."""

_STUBS: Final = frozenset({tables.accounts, tables.api_keys, tables.tokens})
"""Tables whose rows stay on the shard that the account leaves: they say where it is."""

AT_ONCE: Final = 2_000
"""Rows that are read, written or removed at once."""

_AT_ONCE: Final = bindparam("rows", type_=BigInteger())

_ACCOUNT: Final = tables.accounts
_KEY: Final = tables.api_keys
_CREDIT: Final = stripe_tables.stripe_credits
_ARCHIVE: Final = integrity_tables.ledger_archives

_OWN_OF_SHARD: Final = "shard"
"""The column that is not copied: it says where the account is."""


def reader_within(connection: WriteConnection) -> Read:
    async def read(statement: Executable, parameters: dict[str, Any]) -> Sequence[Any]:
        return (await connection.execute(statement, parameters)).all()

    return read


def _columns(table: Table) -> list[Column[Any]]:
    return [column for column in table.c if column.name != _OWN_OF_SHARD]


_ID: Final = bindparam("of_account", type_=BigInteger())
_SCOPE: Final = bindparam("of_scope", type_=String())


def _of(account_id: int) -> dict[str, Any]:
    return {"of_account": account_id, "of_scope": f"acct_{account_id}"}


def _belongs(table: Table) -> ColumnElement[bool]:
    """Whether the row belongs to the account of the parameters that `_of` makes."""
    if table is tables.accounts:
        return table.c.id == _ID
    if table is tables.tokens:
        return table.c.key_id.in_(select(_KEY.c.id).where(_KEY.c.account_id == _ID))
    if table is tables.idempotent_acts:
        return or_(table.c.account_id == _ID, table.c.scope == _SCOPE)
    if table is _CREDIT:
        # Refunds that failed before they were credited name only the payment.
        paid = table.alias()
        of_account = (paid.c.account_id == _ID, paid.c.payment_intent.is_not(None), paid.c.is_refund.is_(False))
        is_failed = table.c.account_id.is_(None) & table.c.payment_intent.in_(
            select(paid.c.payment_intent).where(*of_account)
        )
        return or_(table.c.account_id == _ID, is_failed)
    return table.c.account_id == _ID


def _parameters(table: Table, account_id: int) -> dict[str, Any]:
    given = _of(account_id)
    return given if table is tables.idempotent_acts else {"of_account": given["of_account"]}


def _key(table: Table) -> list[Column[Any]]:
    return list(table.primary_key.columns)


@cache
def _rows_statement(table: Table, after: bool) -> Select[Any]:
    key = _key(table)
    statement = select(*_columns(table)).where(_belongs(table)).order_by(*key).limit(_AT_ONCE)
    if not after:
        return statement
    position = [bindparam(f"after_{column.name}", type_=column.type) for column in key]
    return statement.where(tuple_(*key) > tuple_(*position))


async def rows_of(read: Read, table: Table, account_id: int, after: Sequence[Any] | None = None) -> Sequence[Any]:
    """Returns the next rows of the account, in the order of their keys, at most AT_ONCE."""
    given = _parameters(table, account_id)
    if after is not None:
        given |= {f"after_{column.name}": value for column, value in zip(_key(table), after, strict=True)}
    return await read(_rows_statement(table, after is not None), given | {"rows": AT_ONCE})


def _has_rows(number: int, table: Table) -> Select[Any]:
    found = select(literal(1)).where(_belongs(table))
    return select(literal(number)).where(found.exists())


_NOT_EMPTY: Final = union_all(*(_has_rows(number, table) for number, table in enumerate(COPIED)))


async def tables_with_rows(read: Read, account_id: int) -> set[Table]:
    """Returns the tables that have rows of the account."""
    return {COPIED[row[0]] for row in await read(_NOT_EMPTY, _of(account_id))}


def key_of(table: Table, row: Any) -> tuple[Any, ...]:
    names = [column.name for column in _columns(table)]
    return tuple(row[names.index(column.name)] for column in table.primary_key)


async def _each(read: Read, table: Table, account_id: int) -> AsyncIterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    after = None
    while rows := await rows_of(read, table, account_id, after):
        for row in rows:
            yield key_of(table, row), tuple(row)
        after = key_of(table, rows[-1])
        if len(rows) < AT_ONCE:
            return


class Differences(NamedTuple):
    """Rows to write to, and keys of rows to remove from, the copy."""

    missing: list[tuple[Any, ...]]
    changed: list[tuple[Any, ...]]
    extra: list[tuple[Any, ...]]

    @property
    def rows(self) -> int:
        return sum(map(len, self))


async def differences(read: Read, copy: Read, table: Table, account_id: int) -> AsyncIterator[Differences]:
    """Compares every row of the account with its copy. Yields what differs, in parts."""
    found = Differences([], [], [])
    sources, copies = _each(read, table, account_id), _each(copy, table, account_id)
    source, other = await anext(sources, None), await anext(copies, None)
    while source is not None or other is not None:
        if other is None or (source is not None and source[0] < other[0]):
            assert source is not None
            found.missing.append(source[1])
            source = await anext(sources, None)
        elif source is None or other[0] < source[0]:
            found.extra.append(other[0])
            other = await anext(copies, None)
        else:
            if source[1] != other[1]:
                found.changed.append(source[1])
            source, other = await anext(sources, None), await anext(copies, None)
        if found.rows == AT_ONCE:
            yield found
            found = Differences([], [], [])
    if found.rows:
        yield found


async def write_differences(
    connection: WriteConnection, table: Table, account_id: int, found: Differences, shard: int
) -> bool:
    """Writes them to the copy. `shard` is the shard that the account is still on. Returns False, and writes nothing, if
    this is not a copy: the account is here."""
    locked = select(_ACCOUNT.c.shard).where(_ACCOUNT.c.id == account_id).with_for_update(key_share=True)
    stored = (await connection.execute(locked)).first()
    if stored is not None and stored[0] is None:
        return False
    if found.extra:
        is_extra = and_(*(column == bindparam(f"of_{column.name}", type_=column.type) for column in _key(table)))
        keys = [
            {f"of_{column.name}": value for column, value in zip(_key(table), key, strict=True)} for key in found.extra
        ]
        await connection.execute(delete(table).where(is_extra), keys)
    # Changed rows first: of payments in flight, an account has only one.
    if found.changed:
        await _write_changed(connection, table, found.changed)
    if found.missing:
        await _insert(connection, table, found.missing, shard)
    return True


async def _insert(connection: WriteConnection, table: Table, rows: Sequence[tuple[Any, ...]], shard: int) -> None:
    names = [column.name for column in _columns(table)]
    if _OWN_OF_SHARD in table.c:
        names.append(_OWN_OF_SHARD)
        rows = [(*row, shard) for row in rows]
    if is_postgresql(connection):
        driver: asyncpg.Connection[Any] | None = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.copy_records_to_table(table.name, records=rows, columns=names)
    else:
        await connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in rows])


async def _write_changed(connection: WriteConnection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    keys = {column.name for column in _key(table)}
    names = [column.name for column in _columns(table)]
    values = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in names if name not in keys}
    is_row = and_(*(table.c[name] == bindparam(f"of_{name}", type_=table.c[name].type) for name in keys))
    given = [
        {f"of_{name}" if name in keys else f"new_{name}": value for name, value in zip(names, row, strict=True)}
        for row in rows
    ]
    await connection.execute(update(table).where(is_row).values(**values), given)


class Standing(NamedTuple):
    """The account, as a database has it."""

    shard: int | None
    """None if it is here."""
    head_seq: int
    head_hash: bytes | None
    balance_nanos: int


_STANDING: Final = select(*columns(_ACCOUNT, Standing)).where(_ACCOUNT.c.id == _ID)
_MOVES: Final = select(moved_accounts.c.moves).where(moved_accounts.c.account_id == _ID)
_MOVE: Final = select(*columns(account_moves, PendingMove)).where(account_moves.c.account_id == _ID)
_ARCHIVED: Final = select(_ARCHIVE.c.first_seq).where(_ARCHIVE.c.account_id == _ID).limit(1)


async def standing(read: Read, account_id: int) -> Standing | None:
    rows = await read(_STANDING, {"of_account": account_id})
    return Standing._make(rows[0]) if rows else None


async def moves_of(read: Read, account_id: int) -> int:
    """Returns how often the account was moved, as far as the database knows."""
    rows = await read(_MOVES, {"of_account": account_id})
    return rows[0][0] if rows else 0


async def move_of(read: Read, account_id: int) -> PendingMove | None:
    """Returns the move that has begun, if any has."""
    rows = await read(_MOVE, {"of_account": account_id})
    return PendingMove._make(rows[0]) if rows else None


async def has_archived_rows(read: Read, account_id: int) -> bool:
    return bool(await read(_ARCHIVED, {"of_account": account_id}))


async def announce(connection: WriteConnection, account_id: int, move: PendingMove | None) -> None:
    """Stores that a move has begun, or with None that none has."""
    await connection.execute(account_moves.delete().where(account_moves.c.account_id == account_id))
    if move is not None:
        await connection.execute(account_moves.insert().values(account_id=account_id, **move._asdict()))


async def lock_account(connection: WriteConnection, account_id: int) -> bool:
    """Locks the account against all writes, those of rows that refer to it, too, and rows that are written without a
    lock of the account. Returns whether the account is on this shard."""
    statement = select(_ACCOUNT.c.id).where(_ACCOUNT.c.id == account_id, _ACCOUNT.c.shard.is_(None)).with_for_update()
    if (await connection.execute(statement)).first() is None:
        return False
    for table in (_KEY, tables.tokens, *_WORKED_ON):
        locked = select(*_key(table)).where(_belongs(table)).order_by(*_key(table)).with_for_update()
        (await connection.execute(locked, _parameters(table, account_id))).all()
    return True


_WORKED_ON: Final = (
    volume_tables.volumes,
    volume_tables.rates,
    volume_tables.inference_instances,
    stripe_tables.auto_recharges,
    stripe_tables.recharge_attempts,
    stripe_tables.stripe_customers,
    stripe_tables.top_ups,
    company_tables.company_details,
    limit_tables.spend_limits,
    attribution_tables.usage_marks,
)
"""Small tables whose rows are locked, and go in the moment in which the account leaves: a statement that waits for such
a row must not write it any more."""


async def leave(connection: WriteConnection, account_id: int, move: PendingMove, now: object) -> None:
    """Lets a locked account leave the shard: the point of no return."""
    await mark(connection, account_id, move.number)
    # A token that can be used once is used on the other shard.
    token = tables.tokens
    unused = update(token).where(_belongs(token), token.c.used_at.is_(None))
    await connection.execute(unused.values(used_at=now), _parameters(token, account_id))
    await store_place(connection, account_id, Moved(move.number, move.moves))
    await announce(connection, account_id, None)
    for table in _WORKED_ON:
        await connection.execute(delete(table).where(_belongs(table)), _parameters(table, account_id))


async def note_place(connection: WriteConnection, account_id: int, number: int, moves: int) -> None:
    """Stores, on a shard that has a copy or the rest of the account, where the account is after so many moves. Ends
    what was announced."""
    await announce(connection, account_id, None)
    copied = select(_ACCOUNT.c.id).where(_ACCOUNT.c.id == account_id, _ACCOUNT.c.shard.is_not(None)).with_for_update()
    if (await connection.execute(copied)).first() is None:
        return
    known = (await connection.execute(_MOVES, {"of_account": account_id})).scalar_one_or_none()
    if known is not None and known >= moves:
        return
    await store_place(connection, account_id, Moved(number, moves))
    await mark(connection, account_id, number)


async def remove_rows(database: Database, account_id: int) -> int:
    """Removes the rows of an account that is on another shard, newest first, except those that say where it is.
    Returns how many."""
    removed = 0
    for table in reversed(COPIED):
        if table in _STUBS:
            continue
        while count := await _remove_some(database, table, account_id):
            removed += count
    return removed


async def _remove_some(database: Database, table: Table, account_id: int) -> int:
    key = _key(table)
    belongs = [_belongs(table)]
    if table is tables.idempotent_acts:
        # A repeated createAccount asks the shard that created the account.
        belongs.append(table.c.scope != "")
    if table is tables.audit_entries and database.place is not None and not database.is_postgresql:
        # The newest row says which number was given last: no other entry may get it.
        belongs.append(table.c.id.is_distinct_from(largest_id(database.place, table.c.id)))
    newest = select(*key).where(*belongs).order_by(*(column.desc() for column in key)).limit(_AT_ONCE)
    async with database.write() as connection:
        elsewhere = select(_ACCOUNT.c.id).where(_ACCOUNT.c.id == account_id, _ACCOUNT.c.shard.is_not(None))
        if (await connection.execute(elsewhere.with_for_update(key_share=True))).first() is None:
            return 0
        given = _parameters(table, account_id) | {"rows": AT_ONCE}
        return (await connection.execute(delete(table).where(tuple_(*key).in_(newest)), given)).rowcount


async def count_placed(connection: WriteConnection, from_number: int, to_number: int) -> None:
    """Counts the account on its new shard. On shard 0."""
    shards = shard_tables.shards
    for number, by in ((from_number, -1), (to_number, 1)):
        counted = update(shards).where(shards.c.number == number, shards.c.accounts + by >= 0)
        await connection.execute(counted.values(accounts=shards.c.accounts + by))
