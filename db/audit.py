"""Audit list: entries are added in the transaction of the change, and read newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, func, insert, or_, select, text, union
from sqlalchemy.ext.asyncio import AsyncConnection

from db import tables
from db.connections.snapshots import Read, Rows, Snapshot
from db.filters import AuditFilter, Window
from db.keyed_rows import is_postgresql
from db.rows import AuditEntryRow
from db.shard_tables import account_moves, moved_accounts
from db.shards import with_id
from db.statements import THE_ACCOUNT, columns, counts_of_each, for_each_account, read_each
from db.tables import timestamp

_ENTRY = tables.audit_entries

# Entries get their numbers under this lock, so they are committed in order: a reader who has read up to a number never
# finds a smaller one later. It is always the last lock of a transaction.
_NUMBERING_LOCK: Final = 7_245_310_905


async def lock_audit_entries(connection: AsyncConnection) -> None:
    """Locks the list: until the transaction ends, no other transaction adds an entry."""
    if is_postgresql(connection):
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_NUMBERING_LOCK})"))


async def insert_audit_entry(connection: AsyncConnection, values: dict[str, Any]) -> None:
    """Adds an entry. The list must be locked. `values` are those of an `AuditEntryRow` except its id."""
    await connection.execute(insert(_ENTRY).values(**values, **with_id(connection, _ENTRY.c.id)))


_CONDITIONS: Final[dict[str, ColumnElement[bool]]] = {
    "after": _ENTRY.c.id < bindparam("after", type_=BigInteger()),
    "down_to": _ENTRY.c.id > bindparam("down_to", type_=BigInteger()),
    "act": _ENTRY.c.act == bindparam("act"),
    "actor": _ENTRY.c.actor == bindparam("actor"),
    "account_id": _ENTRY.c.account_id == bindparam("account_id", type_=BigInteger()),
    "at_gte": _ENTRY.c.at >= bindparam("at_gte", type_=timestamp()),
    "at_lt": _ENTRY.c.at < bindparam("at_lt", type_=timestamp()),
}


_AWAY: Final = select(tables.accounts.c.id).where(
    tables.accounts.c.shard.is_not(None),
    tables.accounts.c.id.in_(
        union(select(moved_accounts.c.account_id), select(account_moves.c.account_id)).scalar_subquery()
    ),
)
_OF_HERE: Final = or_(_ENTRY.c.account_id.is_(None), _ENTRY.c.account_id.not_in(_AWAY))
"""The entry is not that of an account that is on another shard. Few accounts are: they are listed once."""


@lru_cache(maxsize=64)
def _page_statement(conditions: tuple[str, ...]) -> Select[Any]:
    return (
        select(*columns(_ENTRY, AuditEntryRow))
        .where(*(_CONDITIONS[name] for name in conditions), _OF_HERE)
        .order_by(_ENTRY.c.id.desc())
        .limit(bindparam("rows", type_=BigInteger()))
    )


@lru_cache(maxsize=32)
def _count_statement(conditions: tuple[str, ...]) -> Select[Any]:
    return select(func.count()).select_from(_ENTRY).where(*(_CONDITIONS[name] for name in conditions), _OF_HERE)


def _given(row_filter: AuditFilter, after: int | None = None, down_to: int | None = None) -> dict[str, Any]:
    ends = {"after": after, "down_to": down_to}
    values = {name: getattr(row_filter, name) for name in _CONDITIONS if name not in ends}
    return {name: value for name, value in (values | ends).items() if value is not None}


async def audit_page(
    snapshot: Snapshot, row_filter: AuditFilter, *, limit: int, after: int | None, down_to: int | None = None
) -> list[AuditEntryRow]:
    """Returns a page, newest first. `after` and `down_to` are numbers, between which the page is."""
    given = _given(row_filter, after, down_to)
    statement = _page_statement(tuple(given))
    return [AuditEntryRow._make(row) for row in await snapshot.rows(statement, given | {"rows": limit})]


def _account_page(account: ColumnElement[int], after: bool) -> Select[Any]:
    statement = select(account.label("of"), *columns(_ENTRY, AuditEntryRow)).where(_ENTRY.c.account_id == account)
    if after:
        statement = statement.where(_ENTRY.c.id < bindparam("after", type_=BigInteger()))
    return statement.order_by(_ENTRY.c.id.desc()).limit(bindparam("rows", type_=BigInteger()))


def _account_count(account: ColumnElement[int], _after: bool) -> Select[Any]:
    counted: list[Any] = [account.label("of"), func.count(_ENTRY.c.id)]
    return select(*counted).where(_ENTRY.c.account_id == account)


@lru_cache(maxsize=8)
def _account_statements(postgresql: bool, count: bool, after: bool) -> tuple[Select[Any], Select[Any] | None]:
    build = _account_count if count else _account_page
    one = build(bindparam(THE_ACCOUNT, type_=BigInteger()), after)
    return one, for_each_account(lambda account: build(account, after)) if postgresql else None


def account_audit_pages(
    postgresql: bool, account_ids: Sequence[int], window: Window
) -> Read[dict[int, list[AuditEntryRow]]]:
    """Reads up to `window.limit` entries per account, newest first."""
    one, each = _account_statements(postgresql, count=False, after=window.after is not None)
    parameters = {"rows": window.limit} | ({} if window.after is None else {"after": window.after})

    def pages(found: Mapping[int, Rows]) -> dict[int, list[AuditEntryRow]]:
        return {account_id: [AuditEntryRow._make(row[1:]) for row in rows] for account_id, rows in found.items()}

    return read_each(account_ids, parameters, pages, one=one, each=each)


def account_audit_counts(postgresql: bool, account_ids: Sequence[int], _arguments: None) -> Read[dict[int, int]]:
    one, each = _account_statements(postgresql, count=True, after=False)
    return read_each(account_ids, {}, counts_of_each, one=one, each=each)


async def audit_count(snapshot: Snapshot, row_filter: AuditFilter) -> int:
    given = _given(row_filter)
    rows = await snapshot.rows(_count_statement(tuple(given)), given)
    return int(rows[0][0])
