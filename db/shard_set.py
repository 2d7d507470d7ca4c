"""Sets of shards: which databases belong together, in which order. Each stores its number, shard 0 the list."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Table, func, insert, literal, select, text

from db import tables
from db.database import Database, WriteConnection
from db.errors import DatabaseUnavailable, SchemaMismatch
from db.schema_version import Tables, require_program
from db.shard_tables import shard_membership, shards
from db.shards import IDS_PER_SHARD, databases_of
from db.stripe_directory import list_linked_customers
from db.stripe_tables import stripe_events

FIRST_PROGRAM: Final = "0021"
"""Programs of older versions would give ids of shard 0 on any shard, and apply Stripe's events on any shard."""

_NUMBERED: Final = (
    (tables.accounts, "id"),
    (tables.api_keys, "id"),
    (tables.audit_entries, "id"),
    (stripe_events, "number"),
)
"""Tables whose numbers say the shard."""
_NUMBERED_TABLES: Final = tuple(table for table, _ in _NUMBERED)

_FIRST_TABLES: Final = "0019"
"""The version that added the tables of sets."""

_SERVER: Final = text("SELECT current_database()::text, pg_postmaster_start_time()::text")
_MEMBER: Final = select(shard_membership.c.set_id, shard_membership.c.number)


class Member(NamedTuple):
    set_id: str
    number: int


async def _member(database: Database) -> Member | None:
    rows = await database.read(_MEMBER)
    return Member._make(rows[0]) if rows else None


async def _size(database: Database) -> int:
    return int((await database.read(select(func.count()).select_from(shards)))[0][0])


async def check_set(database: Database) -> None:
    """Raises SchemaMismatch unless the databases are those of one set, in its order, or a database without a set."""
    databases = databases_of(database)
    members = [await _member(one) for one in databases]
    if len(databases) == 1:
        _check_alone(members[0])
        return
    _check_members(members)
    await check_direct(databases)
    size = await _size(databases[0])
    if size > len(databases):
        msg = f"the set has {size} shards, not {len(databases)}: name all others in BILLING_SHARDS, in their order"
        raise SchemaMismatch(msg)


def _check_alone(member: Member | None) -> None:
    if member is not None:
        msg = (
            f"the database is shard {member.number} of a set: set BILLING_DATABASE_URL to shard 0 and"
            " BILLING_SHARDS to the others, in their order"
        )
        raise SchemaMismatch(msg)


def _check_members(members: Sequence[Member | None]) -> None:
    for number, member in enumerate(members):
        if member is None:
            msg = f"the database of shard {number} does not belong to the set yet: run `billing-gateway migrate`"
            raise SchemaMismatch(msg)
        _check_member(number, member, members[0])


def _check_member(number: int, member: Member, first: Member | None) -> None:
    if first is not None and member.set_id != first.set_id:
        msg = f"the database of shard {number} belongs to another set than shard 0"
        raise SchemaMismatch(msg)
    if member.number != number:
        msg = f"shard {member.number} was named as shard {number}: name the shards in their order"
        raise SchemaMismatch(msg)


async def check_direct(databases: Sequence[Database]) -> None:
    """Raises SchemaMismatch if what goes past a pooler reaches another database, and DatabaseUnavailable. Each needs no
    tables."""
    for number, database in enumerate(databases):
        if not database.is_pooled:
            continue
        url = f"direct_shards: the URL of shard {number}" if number else "direct_database_url: the URL"
        rows = await database.read(_SERVER)
        try:
            async with database.session() as connection:
                direct = (await connection.execute(_SERVER)).all()
        except DatabaseUnavailable as error:
            msg = f"{url} cannot be used: {error}"
            raise DatabaseUnavailable(msg) from error
        if [tuple(row) for row in rows] != [tuple(row) for row in direct]:
            msg = f"{url} is that of another database than its pooler reaches"
            raise SchemaMismatch(msg)


async def check_forming(databases: Sequence[Database], found: Sequence[Tables | None]) -> None:
    """Raises as `form_set` does, before the databases are migrated: `found` has their tables as they are. A single
    database must belong to no set. Writes nothing."""
    members = [await _member(one) if _knows_sets(was) else None for one, was in zip(databases, found, strict=True)]
    if len(databases) == 1:
        _check_alone(members[0])
        return
    await _check_distinct(databases)
    listed = await _size(databases[0]) if _knows_sets(found[0]) else 0
    await _check_joining(databases, members, listed, [_numbered_of(was) for was in found])


def _knows_sets(found: Tables | None) -> bool:
    return found is not None and found.version >= _FIRST_TABLES


def _numbered_of(found: Tables | None) -> Sequence[Table]:
    """Returns those of the numbered tables that are there for certain."""
    if found is None:
        return ()
    return _NUMBERED_TABLES if _knows_sets(found) else (tables.accounts,)


async def _check_distinct(databases: Sequence[Database]) -> None:
    """Two names can lead to one server. Files are compared by their URLs."""
    known: dict[tuple[str, ...], int] = {}
    for number, database in enumerate(databases):
        if database.is_postgresql:
            (server,) = await database.read(_SERVER)
            first = known.setdefault(tuple(server), number)
            if first != number:
                msg = f"shard {first} and shard {number} are the same database: check the URLs"
                raise SchemaMismatch(msg)


async def form_set(databases: Sequence[Database]) -> list[int]:
    """Makes the databases, which must have their tables, one set, or adds new ones to it. Returns their numbers.

    If it ends early, it can be called again. Raises SchemaMismatch for a database of another set, one in another
    place, or a new one that is not empty.
    """
    members = [await _member(database) for database in databases]
    await _check_joining(databases, members, await _size(databases[0]), [_NUMBERED_TABLES] * len(databases))
    set_id = members[0].set_id if members[0] is not None else secrets.token_hex(16)
    joined = []
    for number, database in enumerate(databases):
        if members[number] is None:
            async with database.write() as connection:
                await _join(connection, Member(set_id, number))
            joined.append(number)
    async with databases[0].write() as connection:
        await _list(connection, len(databases))
        await list_linked_customers(connection)
    return joined


async def _check_joining(
    databases: Sequence[Database], members: Sequence[Member | None], listed: int, numbered: Sequence[Sequence[Table]]
) -> None:
    """`numbered` has the tables of each database that must be empty for it to join."""
    for number, member in enumerate(members):
        if member is not None:
            if members[0] is None:
                msg = f"the database of shard {number} belongs to a set, but that of shard 0 does not"
                raise SchemaMismatch(msg)
            _check_member(number, member, members[0])
        elif number < listed:
            msg = f"shard {number} of the set is another database: name the shards in their order"
            raise SchemaMismatch(msg)
        elif number > 0 and await _has_rows(databases[number], numbered[number]):
            msg = f"the database of shard {number} has accounts, keys or events: only an empty one can join a set"
            raise SchemaMismatch(msg)


async def _has_rows(database: Database, numbered: Sequence[Table]) -> bool:
    return any([await database.read(select(literal(1)).select_from(table).limit(1)) for table in numbered])


async def _join(connection: WriteConnection, member: Member) -> None:
    await connection.execute(insert(shard_membership).values(id=1, **member._asdict()))
    await connection.run_sync(require_program, FIRST_PROGRAM)
    if member.number > 0 and connection.dialect.name == "postgresql":
        for table, column in _NUMBERED:
            given: dict[str, Any] = {"table": table.name, "column": column, "last": member.number * IDS_PER_SHARD}
            await connection.execute(text("SELECT setval(pg_get_serial_sequence(:table, :column), :last)"), given)


async def _list(connection: WriteConnection, size: int) -> None:
    """Adds the shards that are not listed yet, after the shards themselves have joined."""
    listed = (await connection.execute(select(func.count()).select_from(shards))).scalar_one()
    for number in range(listed, size):
        counted = select(func.count()).select_from(tables.accounts) if number == 0 else select(literal(0))
        placed = (await connection.execute(counted)).scalar_one()
        await connection.execute(insert(shards).values(number=number, accounts=placed))
