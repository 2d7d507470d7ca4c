"""Calls: stored calls together with the rows that they name."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, and_, bindparam, or_, select, tuple_

from db import tables
from db.connections.snapshots import Snapshot
from db.recount import Read
from db.rows import IdempotencyRow
from db.statements import columns, is_here
from db.transactions.by_id import transactions_by_id

_CALL: Final = tables.idempotency_keys
_OTHER: Final = tables.idempotent_acts
_ROW: Final = tables.transactions

_LIMIT: Final = bindparam("rows", type_=BigInteger())


class StoredCall(NamedTuple):
    call: IdempotencyRow
    first_at: datetime | None
    """The time of the row `first_seq`; None if there is no such row."""
    last_at: datetime | None
    last_amount_nanos: int | None
    last_balance_nanos: int | None


_FIRST: Final = _ROW.alias("first")
_LAST: Final = _ROW.alias("last")

_CALLS: Final = (
    select(
        *columns(_CALL, IdempotencyRow),
        _FIRST.c.created_at,
        _LAST.c.created_at,
        _LAST.c.amount_nanos,
        _LAST.c.balance_after_nanos,
    )
    .select_from(
        _CALL.outerjoin(
            _FIRST, and_(_FIRST.c.account_id == _CALL.c.account_id, _FIRST.c.seq == _CALL.c.first_seq)
        ).outerjoin(_LAST, and_(_LAST.c.account_id == _CALL.c.account_id, _LAST.c.seq == _CALL.c.last_seq))
    )
    .where(
        _CALL.c.account_id == bindparam("account_id", type_=BigInteger()),
        tuple_(_CALL.c.operation, _CALL.c.key) > tuple_(bindparam("operation"), bindparam("key")),
    )
    .order_by(_CALL.c.operation, _CALL.c.key)
    .limit(_LIMIT)
)


async def calls_after(read: Read, account_id: int, operation: str, key: str, limit: int) -> list[StoredCall]:
    """Reads calls in the order of operation and key."""
    given = {"account_id": account_id, "operation": operation, "key": key, "rows": limit}
    width = len(IdempotencyRow._fields)
    return [StoredCall(IdempotencyRow._make(row[:width]), *row[width:]) for row in await read(_CALLS, given)]


class StoredOtherCall(NamedTuple):
    scope: str
    operation: str
    key: str
    account_id: int | None
    last_seq: int | None
    balance_nanos: int | None
    row_balance_nanos: int | None
    """The balance after the row `last_seq`; None if there is no such row."""


_POSITION: Final = tuple_(_OTHER.c.scope, _OTHER.c.operation, _OTHER.c.key)

_OTHER_CALLS: Final = (
    select(*(_OTHER.c[name] for name in StoredOtherCall._fields[:-1]))
    .where(
        tuple_(bindparam("scope"), bindparam("operation"), bindparam("key")) < _POSITION,
        or_(_OTHER.c.account_id.is_(None), is_here(_OTHER.c.account_id)),
    )
    .order_by(_OTHER.c.scope, _OTHER.c.operation, _OTHER.c.key)
    .limit(_LIMIT)
)


async def other_calls_after(
    snapshot: Snapshot, scope: str, operation: str, key: str, limit: int
) -> list[StoredOtherCall]:
    """Reads calls of all accounts, in the order of scope, operation and key."""
    given = {"scope": scope, "operation": operation, "key": key, "rows": limit}
    calls = await snapshot.rows(_OTHER_CALLS, given)
    ids = {(call[3], call[4]) for call in calls if call[3] is not None and call[4]}
    rows = await snapshot.read(transactions_by_id(snapshot.is_postgresql, list(ids))) if ids else {}
    balances = {key: row.balance_after_nanos for key, row in rows.items()}
    return [StoredOtherCall._make((*call, balances.get((call[3], call[4])))) for call in calls]
