"""Ledger rows: the rows of an account, its head, and checkpoints of earlier heads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Date, and_, bindparam, or_, select

from db import tables
from db.accounts import WAS_MOVED
from db.integrity_tables import ledger_checkpoints
from db.recount import Read
from db.rows import FOLDED_OF_TRANSACTIONS, AccountRow, TransactionRow
from db.statements import columns

_ACCOUNT: Final = tables.accounts
_ROW: Final = tables.transactions
_CHARGE: Final = tables.charges
_CHECKPOINT: Final = ledger_checkpoints

_ID: Final = bindparam("account_id", type_=BigInteger())
_AFTER: Final = bindparam("after", type_=BigInteger())
_LAST: Final = bindparam("last", type_=BigInteger())
_LIMIT: Final = bindparam("rows", type_=BigInteger())

_FOLDED_OF_ACCOUNTS: Final = ("name_folded", "external_id_folded")


class StoredAccount(NamedTuple):
    row: AccountRow
    folded: tuple[str | None, str | None]
    """The stored search texts of the name and of the external id."""


class StoredTransaction(NamedTuple):
    row: TransactionRow
    folded: tuple[str | None, str | None]
    """The stored search texts of the description and of the ref id."""


_HEAD: Final = select(*columns(_ACCOUNT, AccountRow), *(_ACCOUNT.c[name] for name in _FOLDED_OF_ACCOUNTS)).where(
    _ACCOUNT.c.id == _ID
)


async def account(read: Read, account_id: int) -> StoredAccount | None:
    rows = await read(_HEAD, {"account_id": account_id})
    return StoredAccount(AccountRow._make(rows[0][:-2]), tuple(rows[0][-2:])) if rows else None


_ACCOUNT_IDS: Final = (
    select(_ACCOUNT.c.id).where(_ACCOUNT.c.id > _AFTER, ~WAS_MOVED).order_by(_ACCOUNT.c.id).limit(_LIMIT)
)


async def account_ids_after(read: Read, account_id: int, limit: int) -> list[int]:
    return [row[0] for row in await read(_ACCOUNT_IDS, {"after": account_id, "rows": limit})]


_ROWS: Final = (
    select(*columns(_ROW, TransactionRow), *(_ROW.c[name] for name in FOLDED_OF_TRANSACTIONS))
    .where(_ROW.c.account_id == _ID, _ROW.c.seq > _AFTER, _ROW.c.seq <= _LAST)
    .order_by(_ROW.c.seq)
    .limit(_LIMIT)
)


async def rows_after(read: Read, account_id: int, seq: int, last_seq: int, limit: int) -> list[StoredTransaction]:
    """Reads rows, oldest first, up to the row `last_seq`."""
    given = {"account_id": account_id, "after": seq, "last": last_seq, "rows": limit}
    found = await read(_ROWS, given)
    return [StoredTransaction(TransactionRow._make(row[:-2]), tuple(row[-2:])) for row in found]


_BEYOND: Final = select(_ROW.c.seq).where(_ROW.c.account_id == _ID, _ROW.c.seq > _AFTER).order_by(_ROW.c.seq).limit(1)


async def first_seq_after(read: Read, account_id: int, seq: int) -> int | None:
    rows = await read(_BEYOND, {"account_id": account_id, "after": seq})
    return rows[0][0] if rows else None


_RESOURCES: Final = ("gpu_instance", "inference_instance", "volume", "shared_filesystem")

_WITHOUT_CHARGE: Final = (
    select(_ROW.c.seq)
    .select_from(
        _ROW.outerjoin(
            _CHARGE,
            and_(
                _CHARGE.c.account_id == _ROW.c.account_id,
                _CHARGE.c.ref_type == _ROW.c.ref_type,
                _CHARGE.c.ref_id == _ROW.c.ref_id,
            ),
        )
    )
    .where(
        _ROW.c.account_id == _ID,
        _ROW.c.seq > _AFTER,
        _ROW.c.seq <= _LAST,
        or_(*(_ROW.c.ref_type == kind for kind in _RESOURCES)),
        or_(
            _CHARGE.c.first_seq.is_(None),
            _ROW.c.seq < _CHARGE.c.first_seq,
            _ROW.c.seq > _CHARGE.c.last_seq,
            _ROW.c.api_key.is_distinct_from(_CHARGE.c.api_key),
            _ROW.c.project.is_distinct_from(_CHARGE.c.project),
        ),
    )
    .order_by(_ROW.c.seq)
    .limit(1)
)


async def first_without_charge(read: Read, account_id: int, after: int, last: int) -> int | None:
    """Returns the first of these rows that has a resource but no charge that covers it and was spent by the same."""
    rows = await read(_WITHOUT_CHARGE, {"account_id": account_id, "after": after, "last": last})
    return rows[0][0] if rows else None


class StoredCheckpoint(NamedTuple):
    day: date
    seq: int
    hash: bytes
    row_hash: bytes | None
    """The hash of the row with this `seq`; None if there is no such row."""


_CHECKPOINTS: Final = (
    select(_CHECKPOINT.c.day, _CHECKPOINT.c.seq, _CHECKPOINT.c.hash, _ROW.c.hash)
    .select_from(
        _CHECKPOINT.outerjoin(
            _ROW, and_(_ROW.c.account_id == _CHECKPOINT.c.account_id, _ROW.c.seq == _CHECKPOINT.c.seq)
        )
    )
    .where(_CHECKPOINT.c.account_id == _ID, _CHECKPOINT.c.day > bindparam("day", type_=Date()))
    .order_by(_CHECKPOINT.c.day)
    .limit(_LIMIT)
)


async def checkpoints_after(read: Read, account_id: int, day: date, limit: int) -> list[StoredCheckpoint]:
    given: dict[str, Any] = {"account_id": account_id, "day": day, "rows": limit}
    rows: Sequence[Any] = await read(_CHECKPOINTS, given)
    return [StoredCheckpoint._make(row) for row in rows]
