"""Posting on PostgreSQL: one statement reads and one writes, whatever the number of rows.

Rows are sent as arrays, one per column. No lock is held between the two statements. Each account's row has a `version`
that changes with every post to the account. Changes computed from one version are written only if the account still has
that version.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

import asyncpg
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Executable,
    LargeBinary,
    Select,
    String,
    Table,
    and_,
    bindparam,
    literal_column,
    select,
)

from db import attribution_tables, limit_tables, limits, tables, writes
from db.attribution_rows import (
    COST_HOUR_FIGURES,
    USAGE_HOUR_FIGURES,
    CostHourRow,
    RequestDetailRow,
    UsageHourRow,
    UsagePriceRow,
)
from db.clocks import SERVER_TIME, Clock, reading_between, utc_now
from db.connections.postgresql_batches import run_batch
from db.keyed_rows import key_arrays, keyed_statement, listed_keys
from db.limit_rows import AuthorizationRow, SpendLimitEventRow, SpendLimitRow
from db.posting.state import ChangeSet, PostingKeys, StoredState
from db.rows import (
    FOLDED_OF_TRANSACTIONS,
    AccountRow,
    ChargeRow,
    HoldRow,
    IdempotencyRow,
    MonthlyFiguresRow,
    TransactionRow,
    folded_of_transaction,
)
from db.statements import columns, is_one_of
from db.usage_writes import CHANGING_OF_DAYS, FED_DAY_COLUMNS, FedDay

_ACCOUNT: Final = tables.accounts
_VERSION: Final = literal_column("accounts.xmin::text", String())


@lru_cache(maxsize=2)
def _accounts_statement(*, single: bool) -> Select[Any]:
    """Returns the statement that reads accounts. A single account has its own statement: for a list of unknown length,
    PostgreSQL would scan a small table whole, with all its dead rows."""
    found = _ACCOUNT.c.id == bindparam("account_id", type_=BigInteger())
    chosen = found if single else is_one_of(_ACCOUNT.c.id, "account_ids", postgresql=True)
    return select(*columns(_ACCOUNT, AccountRow), _VERSION, SERVER_TIME).where(chosen, _ACCOUNT.c.shard.is_(None))


@lru_cache(maxsize=1)
def _holds_statement() -> Select[Any]:
    charge, hold = tables.charges, tables.holds
    key = tuple(charge.primary_key)
    listed = listed_keys(key)
    return select(*columns(hold, HoldRow)).join_from(
        listed.join(charge, and_(*(column == listed.c[column.name] for column in key))),
        hold,
        and_(hold.c.account_id == charge.c.account_id, hold.c.hold_seq == charge.c.hold_seq),
    )


def _by_key(table: Table, row_type: type[NamedTuple]) -> Select[Any]:
    return keyed_statement(tuple(columns(table, row_type)), tuple(table.primary_key))


def _by_keys(keys: PostingKeys, now: datetime) -> list[tuple[Executable, dict[str, Any]]]:
    """Returns the reads for the keys that are given, in the order of the fields of `keys`."""
    reads: list[tuple[Executable, dict[str, Any]]] = []
    if keys.calls:
        table = tables.idempotency_keys
        reads.append((_by_key(table, IdempotencyRow), key_arrays(tuple(table.primary_key), keys.calls)))
    if keys.charges:
        table = tables.charges
        arrays = key_arrays(tuple(table.primary_key), keys.charges)
        reads += [(_by_key(table, ChargeRow), arrays), (_holds_statement(), arrays)]
    if keys.requests:
        key = tuple(tables.usage_requests.primary_key)
        reads.append((keyed_statement(key, key), key_arrays(key, keys.requests)))
    if keys.days:
        table = tables.usage_days
        key, found = tuple(table.primary_key), tuple(table.c[name] for name in FED_DAY_COLUMNS)
        reads.append((keyed_statement(found, key), key_arrays(key, keys.days)))
    if keys.authorizations:
        table = limit_tables.authorizations
        arrays = key_arrays(tuple(table.primary_key), keys.authorizations)
        reads.append((_by_key(table, AuthorizationRow), arrays))
    if keys.reserved:
        reads.append((limits.reserved(postgresql=True), {"account_ids": list(keys.reserved), "now": now}))
    if keys.reserving:
        reads.append((limits.newest_authorizations(postgresql=True), {"account_ids": list(keys.reserving)}))
    return reads


async def open_unlocked(
    connection: asyncpg.Connection[Any], keys: PostingKeys, now: datetime, clock: Clock = utc_now
) -> StoredState:
    """Reads the state in one statement, which sees one moment. Reads the clock before and after it. PostgreSQL only."""
    listed = list(keys.accounts)
    single = len(listed) == 1
    wanted: dict[str, Any] = {"account_id": listed[0]} if single else {"account_ids": listed}
    before = clock()
    in_force = limits.limits_in_force(postgresql=True), {"account_ids": listed}
    accounts, limited, *others = await run_batch(
        connection, [(_accounts_statement(single=single), wanted), in_force, *_by_keys(keys, now)]
    )
    after = clock()
    found = iter(others)
    calls = [IdempotencyRow._make(row) for row in next(found)] if keys.calls else []
    charges = [ChargeRow._make(row) for row in next(found)] if keys.charges else []
    holds = [HoldRow._make(row) for row in next(found)] if keys.charges else []
    requests = {(row[0], bytes(row[1])) for row in next(found)} if keys.requests else set()
    days = [FedDay.of_columns(row) for row in next(found)] if keys.days else []
    authorizations = [AuthorizationRow._make(row) for row in next(found)] if keys.authorizations else []
    reserved = limits.reservations(keys.reserved, next(found)) if keys.reserved else {}
    newest = limits.newest_by_account(next(found)) if keys.reserving else {}
    return StoredState(
        {row[0]: AccountRow._make(row[:-2]) for row in accounts},
        {call[:3]: call for call in calls},
        {charge[:3]: charge for charge in charges},
        {(hold.account_id, hold.ref_type, hold.ref_id): hold for hold in holds},
        requests,
        {day.row.key: day for day in days},
        [SpendLimitRow._make(row) for row in limited],
        authorizations,
        reserved,
        newest,
        {row[0]: row[-2] for row in accounts},
        reading_between(before, accounts[0][-1], after) if accounts else None,
    )


def _type_name(column: Column[Any]) -> str:
    kinds = {BigInteger: "bigint", DateTime: "timestamptz", LargeBinary: "bytea", Boolean: "boolean", Date: "date"}
    return next((name for kind, name in kinds.items() if isinstance(column.type, kind)), "text")


def _text_array(texts: Sequence[str | None]) -> str:
    if None not in texts:
        joined = '","'.join(texts)  # type: ignore[arg-type]
        if "\\" not in joined and joined.count('"') == 2 * (len(texts) - 1):
            return f'{{"{joined}"}}'
    written = (None if one is None else one.replace("\\", "\\\\").replace('"', '\\"') for one in texts)
    return "{" + ",".join(["NULL" if one is None else f'"{one}"' for one in written]) + "}"


def _plain_array(values: Sequence[Any]) -> str:
    """Formats an array of numbers or booleans. Python's text for them is valid in PostgreSQL."""
    return "{" + str(list(values))[1:-1].replace("None", "NULL") + "}"


_WRITTEN: Final[dict[str, Callable[[Sequence[Any]], str]]] = {
    "bigint": _plain_array,
    "boolean": _plain_array,
    "text": _text_array,
    "timestamptz": lambda moments: _text_array([None if one is None else one.isoformat() for one in moments]),
    "date": lambda days: _text_array([day.isoformat() for day in days]),
    "bytea": lambda data: _text_array([None if one is None else f"\\x{one.hex()}" for one in data]),
}


def _array(kind: str, values: Sequence[Any]) -> str:
    """Formats an array as PostgreSQL's text form. The driver's binary form takes ten times as long."""
    return _WRITTEN[kind](values)


_SOUND: Final = "(SELECT id FROM sound)"


class _Part:
    """One table's part of the write statement. Its rows are sent as arrays, one per column."""

    def __init__(self, table: Table, columns: tuple[str, ...], conflict: str = "") -> None:
        self._table = table.name
        self._columns = columns
        self.types = [_type_name(table.c[name]) for name in self._columns]
        self._conflict = conflict

    def text(self, first: int) -> str:
        names = ", ".join(self._columns)
        return (
            f"put_{self._table} AS (INSERT INTO {self._table} ({names}) SELECT {names}"  # noqa: S608  names of columns
            f" FROM {_listed(self.types, self._columns, first)} WHERE account_id IN {_SOUND}{self._conflict})"
        )


def _listed(types: Sequence[str], names: Sequence[str], first: int) -> str:
    arrays = ", ".join(f"${first + number}::text::{name}[]" for number, name in enumerate(types))
    return f"unnest({arrays}) AS listed ({', '.join(names)})"


def _replacing(table: Table, changing: Sequence[str]) -> str:
    keys = ", ".join(column.name for column in table.primary_key)
    changes = ", ".join(f"{name} = excluded.{name}" for name in changing)
    return f" ON CONFLICT ({keys}) DO UPDATE SET {changes}"


def _adding(table: Table, figures: Sequence[str]) -> str:
    keys = ", ".join(column.name for column in table.primary_key)
    changes = ", ".join(f"{name} = {table.name}.{name} + excluded.{name}" for name in figures)
    return f" ON CONFLICT ({keys}) DO UPDATE SET {changes}"


_PARTS: Final = {
    "rows": _Part(tables.transactions, TransactionRow._fields + FOLDED_OF_TRANSACTIONS),
    "charges": _Part(tables.charges, ChargeRow._fields, _replacing(tables.charges, writes.CHANGING_OF_CHARGES)),
    "holds": _Part(tables.holds, HoldRow._fields, _replacing(tables.holds, writes.CHANGING_OF_HOLDS)),
    "months": _Part(
        tables.monthly_figures,
        MonthlyFiguresRow._fields,
        _adding(tables.monthly_figures, MonthlyFiguresRow._fields[2:]),
    ),
    "calls": _Part(tables.idempotency_keys, IdempotencyRow._fields),
    "requests": _Part(tables.usage_requests, ("account_id", "digest")),
    "days": _Part(tables.usage_days, FED_DAY_COLUMNS, _replacing(tables.usage_days, CHANGING_OF_DAYS)),
    "costs": _Part(
        attribution_tables.cost_hours, CostHourRow._fields, _adding(attribution_tables.cost_hours, COST_HOUR_FIGURES)
    ),
    "hours": _Part(
        attribution_tables.usage_hours,
        UsageHourRow._fields,
        _adding(attribution_tables.usage_hours, USAGE_HOUR_FIGURES),
    ),
    "prices": _Part(attribution_tables.usage_prices, UsagePriceRow._fields, " ON CONFLICT DO NOTHING"),
    "details": _Part(attribution_tables.request_details, RequestDetailRow._fields),
    "authorizations": _Part(
        limit_tables.authorizations,
        AuthorizationRow._fields,
        _replacing(limit_tables.authorizations, limits.CHANGING_OF_AUTHORIZATIONS),
    ),
    "limits": _Part(
        limit_tables.spend_limits,
        SpendLimitRow._fields,
        _replacing(limit_tables.spend_limits, limits.CHANGING_OF_LIMITS),
    ),
    "limit_events": _Part(limit_tables.spend_limit_events, SpendLimitEventRow._fields),
}


def _written(changes: ChangeSet, name: str) -> Sequence[tuple[Any, ...]]:
    """Returns the rows of a part, with the part's columns."""
    if name == "rows":
        return [(*row, *folded_of_transaction(row)) for row in changes.rows]
    if name == "days":
        return [day.columns for day in changes.days]
    rows: Sequence[tuple[Any, ...]] = getattr(changes, name)
    return rows


_HEAD: Final = ("id", "version", "head_seq", "head_at", "head_hash", "balance_nanos")
_HEAD_TYPES: Final = ("bigint", "text", "bigint", "timestamptz", "bytea", "bigint")


@lru_cache(maxsize=128)
def _keeping_text(names: tuple[str, ...], *, together: bool) -> str:
    """Returns the statement that writes changes of accounts that still have their version.

    If `together`, it writes nothing unless all of them do. It never waits for a lock, so two calls cannot deadlock.
    """
    changes = ", ".join(f"{name} = sound.{name}" for name in _HEAD[2:])
    held = "SELECT listed.* FROM listed JOIN accounts ON accounts.id = listed.id WHERE accounts.xmin::text = version"
    whole = " WHERE (SELECT count(*) FROM held) = (SELECT count(*) FROM listed)" if together else ""
    parts = [
        f"listed AS MATERIALIZED (SELECT * FROM {_listed(_HEAD_TYPES, _HEAD, 1)})",  # noqa: S608  names of columns
        f"held AS MATERIALIZED ({held} FOR NO KEY UPDATE OF accounts SKIP LOCKED)",
        f"sound AS MATERIALIZED (SELECT * FROM held{whole})",  # noqa: S608
        f"put_heads AS (UPDATE accounts SET {changes} FROM sound WHERE accounts.id = sound.id)",  # noqa: S608
    ]
    first = len(_HEAD) + 1
    for name in names:
        parts.append(_PARTS[name].text(first))
        first += len(_PARTS[name].types)
    return f"WITH {', '.join(parts)} SELECT array_agg(id) FROM sound"  # noqa: S608


async def keep_unlocked(
    connection: asyncpg.Connection[Any], stored: StoredState, changes: ChangeSet, *, together: bool
) -> Collection[int]:
    """Writes the changes. Returns the accounts whose changes were written, each completely. PostgreSQL only.

    An account is skipped if anything was posted to it since it was opened, or if another transaction has locked it.
    """
    heads = [
        (head.id, stored.versions[head.id], head.head_seq, head.head_at, head.head_hash, head.balance_nanos)
        for head in changes.heads
    ]
    names = tuple(name for name in _PARTS if getattr(changes, name))
    values = [_array(kind, column) for kind, column in zip(_HEAD_TYPES, zip(*heads, strict=True), strict=True)]
    for name in names:
        values += map(_array, _PARTS[name].types, zip(*_written(changes, name), strict=True))
    found = await connection.fetchval(_keeping_text(names, together=together), *values)
    return set(found or ())
