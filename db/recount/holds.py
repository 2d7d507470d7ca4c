"""Holds, together with the rows that opened and settled them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, and_, bindparam, func, select

from db import tables
from db.recount import Read
from db.rows import HoldRow
from db.statements import columns

_HOLD: Final = tables.holds
_ROW: Final = tables.transactions

_ID: Final = bindparam("account_id", type_=BigInteger())
_AFTER: Final = bindparam("after", type_=BigInteger())
_LAST: Final = bindparam("last", type_=BigInteger())


def _of_rows(seq: Any) -> Any:
    return select(*columns(_HOLD, HoldRow)).where(_HOLD.c.account_id == _ID, seq > _AFTER, seq <= _LAST)


_OPENED_BY_ROWS: Final = _of_rows(_HOLD.c.hold_seq)
_SETTLED_BY_ROWS: Final = _of_rows(_HOLD.c.settled_seq)


class HoldsOfRows(NamedTuple):
    opened: dict[int, HoldRow]
    settled: dict[int, HoldRow]
    """Both dicts are by the `seq` of the row."""


async def holds_of_rows(read: Read, account_id: int, after: int, last: int) -> HoldsOfRows:
    """Reads the holds that these rows opened or settled."""
    given = {"account_id": account_id, "after": after, "last": last}

    def holds(rows: Iterable[Any]) -> Iterable[HoldRow]:
        return map(HoldRow._make, rows)

    opened = {hold.hold_seq: hold for hold in holds(await read(_OPENED_BY_ROWS, given))}
    settled = {hold.settled_seq or 0: hold for hold in holds(await read(_SETTLED_BY_ROWS, given))}
    return HoldsOfRows(opened, settled)


class StoredHold(NamedTuple):
    hold: HoldRow
    opened_at: datetime | None
    """The time of the row that opened it; None if there is no such row of its resource."""
    settling_at: datetime | None
    """The time of the row that settled it, likewise."""
    cycle_before: int | None
    """The cycle of the previous hold of the same resource."""
    next_at: datetime | None
    """The time of the row that opened the next hold of the same resource."""


def _of_the_same_resource(other: Any) -> Any:
    return and_(*(other.c[name] == _HOLD.c[name] for name in ("account_id", "ref_type", "ref_id")))


def _row_of(row: Any, seq: Any) -> Any:
    same = (row.c[name] == _HOLD.c[name] for name in ("account_id", "ref_type", "ref_id"))
    return and_(*same, row.c.seq == seq)


_BEFORE: Final = _HOLD.alias("before")
_NEXT: Final = _HOLD.alias("next")
_OPENING: Final = _ROW.alias("opening")
_SETTLING: Final = _ROW.alias("settling")
_OPENING_NEXT: Final = _ROW.alias("opening_next")

_CYCLE_BEFORE: Final = (
    select(_BEFORE.c.cycle)
    .where(_of_the_same_resource(_BEFORE), _BEFORE.c.hold_seq < _HOLD.c.hold_seq)
    .order_by(_BEFORE.c.hold_seq.desc())
    .limit(1)
    .correlate(_HOLD)
    .scalar_subquery()
)
_NEXT_SEQ: Final = (
    select(func.min(_NEXT.c.hold_seq))
    .where(_of_the_same_resource(_NEXT), _NEXT.c.hold_seq > _HOLD.c.hold_seq)
    .correlate(_HOLD)
    .scalar_subquery()
)
_NEXT_AT: Final = (
    select(_OPENING_NEXT.c.created_at)
    .where(_OPENING_NEXT.c.account_id == _HOLD.c.account_id, _OPENING_NEXT.c.seq == _NEXT_SEQ)
    .correlate(_HOLD)
    .scalar_subquery()
)

_HOLDS: Final = (
    select(
        *columns(_HOLD, HoldRow),
        _OPENING.c.created_at,
        _SETTLING.c.created_at,
        _CYCLE_BEFORE.label("cycle_before"),
        _NEXT_AT.label("next_at"),
    )
    .select_from(
        _HOLD.outerjoin(_OPENING, _row_of(_OPENING, _HOLD.c.hold_seq)).outerjoin(
            _SETTLING, _row_of(_SETTLING, _HOLD.c.settled_seq)
        )
    )
    .where(_HOLD.c.account_id == _ID, _HOLD.c.hold_seq > _AFTER)
    .order_by(_HOLD.c.hold_seq)
    .limit(bindparam("rows", type_=BigInteger()))
)


async def holds_after(read: Read, account_id: int, hold_seq: int, limit: int) -> list[StoredHold]:
    """Reads holds in the order of the rows that opened them."""
    width = len(HoldRow._fields)
    rows = await read(_HOLDS, {"account_id": account_id, "after": hold_seq, "rows": limit})
    return [StoredHold(HoldRow._make(row[:width]), *row[width:]) for row in rows]
