"""Charges, together with the sums of their rows and holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Select, and_, bindparam, func, select

from db import tables
from db.recount import Read
from db.rows import ChargeRow
from db.statements import columns, exact_sum, exact_sums, is_one_of
from db.tables import name

_CHARGE: Final = tables.charges
_HOLD: Final = tables.holds
_ROW: Final = tables.transactions

_ID: Final = bindparam("account_id", type_=BigInteger())
_REF_TYPE: Final = bindparam("ref_type", type_=name())


class StoredCharge(NamedTuple):
    charge: ChargeRow
    opened_at: datetime | None
    """The time of its first row."""
    hold_state: str | None
    """The stored state of its newest hold."""
    hold_settled_at: datetime | None


_CHARGES: Final = (
    select(*columns(_CHARGE, ChargeRow), _ROW.c.created_at, _HOLD.c.state, _HOLD.c.settled_at)
    .select_from(
        _CHARGE.outerjoin(
            _ROW, and_(_ROW.c.account_id == _CHARGE.c.account_id, _ROW.c.seq == _CHARGE.c.first_seq)
        ).outerjoin(_HOLD, and_(_HOLD.c.account_id == _CHARGE.c.account_id, _HOLD.c.hold_seq == _CHARGE.c.hold_seq))
    )
    .where(_CHARGE.c.account_id == _ID, _CHARGE.c.ref_type == _REF_TYPE, _CHARGE.c.ref_id > bindparam("after"))
    .order_by(_CHARGE.c.ref_id)
    .limit(bindparam("rows", type_=BigInteger()))
)


async def charges_after(read: Read, account_id: int, ref_type: str, ref_id: str, limit: int) -> list[StoredCharge]:
    """Reads charges with one ref type, in the order of their ref ids."""
    given = {"account_id": account_id, "ref_type": ref_type, "after": ref_id, "rows": limit}
    width = len(ChargeRow._fields)
    return [StoredCharge(ChargeRow._make(row[:width]), *row[width:]) for row in await read(_CHARGES, given)]


class HoldSums(NamedTuple):
    """Sums of all holds of one resource."""

    cycles: int
    first_seq: int
    last_seq: int
    hold_seq: int
    held_nanos: int
    refunded_nanos: int
    overage_nanos: int


@lru_cache(maxsize=2)
def _hold_sums(postgresql: bool) -> Select[Any]:
    rest = _HOLD.c.held_nanos - _HOLD.c.used_nanos
    return (
        select(
            _HOLD.c.ref_id,
            func.count(),
            func.min(_HOLD.c.hold_seq),
            func.max(_HOLD.c.hold_seq),
            func.max(_HOLD.c.settled_seq),
            *exact_sum(_HOLD.c.held_nanos, postgresql=postgresql),
            *exact_sum(rest, postgresql=postgresql, only=rest > 0),
            *exact_sum(rest, postgresql=postgresql, only=rest < 0),
        )
        .where(
            _HOLD.c.account_id == _ID,
            _HOLD.c.ref_type == _REF_TYPE,
            is_one_of(_HOLD.c.ref_id, "ref_ids", postgresql=postgresql),
        )
        .group_by(_HOLD.c.ref_id)
    )


async def hold_sums(
    read: Read, account_id: int, ref_type: str, ref_ids: Sequence[str], *, postgresql: bool
) -> dict[str, HoldSums]:
    """Reads the sums by ref id."""
    given = {"account_id": account_id, "ref_type": ref_type, "ref_ids": list(ref_ids)}
    found = {}
    for ref_id, cycles, first, hold_seq, settled, *sums in await read(_hold_sums(postgresql), given):
        held, refunded, overage = exact_sums(sums, postgresql=postgresql)
        last = max(hold_seq, settled or 0)
        found[ref_id] = HoldSums(cycles, first, last, hold_seq, held, refunded, -overage)
    return found


class RowSums(NamedTuple):
    """Sums of all rows of one resource that is billed without holds."""

    first_seq: int
    last_seq: int
    billed_nanos: int


@lru_cache(maxsize=2)
def _row_sums(postgresql: bool) -> Select[Any]:
    return (
        select(
            _ROW.c.ref_id,
            func.min(_ROW.c.seq),
            func.max(_ROW.c.seq),
            *exact_sum(_ROW.c.amount_nanos, postgresql=postgresql),
        )
        .where(
            _ROW.c.account_id == _ID,
            _ROW.c.ref_type == _REF_TYPE,
            is_one_of(_ROW.c.ref_id, "ref_ids", postgresql=postgresql),
        )
        .group_by(_ROW.c.ref_id)
    )


async def row_sums(
    read: Read, account_id: int, ref_type: str, ref_ids: Sequence[str], *, postgresql: bool
) -> dict[str, RowSums]:
    """Reads the sums by ref id."""
    given = {"account_id": account_id, "ref_type": ref_type, "ref_ids": list(ref_ids)}
    found = {}
    for ref_id, first, last, *sums in await read(_row_sums(postgresql), given):
        [amount] = exact_sums(sums, postgresql=postgresql)
        found[ref_id] = RowSums(first, last, -amount)
    return found
