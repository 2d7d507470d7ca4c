"""Runway: reads holds whose time crosses an end of a window, and what the account's volumes cost per day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, func, literal_column, select, true, union_all

from db import tables
from db.archive.past import nothing_past
from db.connections.snapshots import Past, Read, Rows
from db.statements import THE_ACCOUNT, exact_sum, exact_sums, for_each_account, read_each
from db.tables import timestamp
from db.transactions.conditions import first_seq_since
from db.volume_tables import rates, volumes

MAX_ROWS_BEFORE: Final = 10_000
"""Number of rows before the window that are searched for holds that ended within it without a row."""

_ACCOUNT: Final = tables.accounts
_HOLD: Final = tables.holds


class CrossingHold(NamedTuple):
    """A hold that is open, or was opened before the window and ended within it."""

    is_earlier: bool
    """Whether the hold's row was written before the window."""
    ref_type: str
    held_nanos: int
    used_nanos: int | None
    """None while open."""
    period_start: datetime
    period_end: datetime
    settled_seq: int | None
    settled_at: datetime | None
    ended_at: datetime | None = None
    """When the used time ended, by the row that settled the hold; None without a row."""


def _ended_at() -> ColumnElement[datetime]:
    row = tables.transactions.alias().c
    settling = (row.account_id == _HOLD.c.account_id, row.seq == _HOLD.c.settled_seq)
    return select(row.period_end).where(*settling).correlate(_HOLD).scalar_subquery()


_REST: Final = [*(_HOLD.c[name] for name in CrossingHold._fields[1:-1]), _ended_at().label("ended_at")]


def _first_seq(account: ColumnElement[int]) -> ColumnElement[int]:
    """Selects the first `seq` of the window, or the next one if it has no rows."""
    head = select(_ACCOUNT.c.head_seq + literal_column("1")).where(_ACCOUNT.c.id == account).scalar_subquery()
    return func.coalesce(first_seq_since(account, "since"), head)


def _crossing(account: ColumnElement[int]) -> Select[Any]:
    first = _first_seq(account)

    def holds(is_earlier: ColumnElement[bool], *conditions: ColumnElement[bool]) -> Select[Any]:
        chosen: list[Any] = [account.label("account_id"), is_earlier.label("is_earlier"), *_REST]
        return select(*chosen).where(_HOLD.c.account_id == account, *conditions)

    before = _HOLD.c.hold_seq < first
    is_open = holds(before, _HOLD.c.state == literal_column("'open'"))
    settled = holds(true(), _HOLD.c.settled_seq >= first, before)
    # A hold that was used to the nano-dollar, or expired, ended without a row.
    without_row = holds(
        true(),
        before,
        _HOLD.c.hold_seq >= first - literal_column(str(MAX_ROWS_BEFORE)),
        _HOLD.c.state != literal_column("'open'"),
        _HOLD.c.settled_seq.is_(None),
        _HOLD.c.settled_at >= bindparam("since", type_=timestamp()),
    )
    parts = (is_open, settled, without_row)
    return union_all(*(part.subquery().select() for part in parts)).subquery().select()


@lru_cache(maxsize=2)
def _crossing_statements(postgresql: bool) -> tuple[Select[Any], Select[Any] | None]:
    one = _crossing(bindparam(THE_ACCOUNT, type_=BigInteger()))
    return one, for_each_account(_crossing) if postgresql else None


def crossing_holds(
    postgresql: bool, account_ids: Sequence[int], since: datetime
) -> Read[dict[int, list[CrossingHold]]]:
    """Reads open holds, and those opened before the window that ended within it. The window ends now."""

    def holds(found: Mapping[int, Rows]) -> dict[int, list[CrossingHold]]:
        return {account_id: [_hold(row) for row in rows] for account_id, rows in found.items()}

    one, each = _crossing_statements(postgresql)
    past: Past[Any] = nothing_past(account_ids, [since], "the ledger rows of the window were moved to the archive")
    return read_each(account_ids, {"since": since}, holds, one=one, each=each, past=past)


def _hold(row: Any) -> CrossingHold:
    return CrossingHold(bool(row[1]), *row[2:])


def _volume_days(account: ColumnElement[int], *, postgresql: bool) -> Select[Any]:
    rate, volume = rates.c, volumes.c
    newest = (
        select(rate.quantity * rate.price_nanos)
        .where(*(rate[name] == volume[name] for name in ("account_id", "ref_type", "ref_id")))
        .order_by(rate.since.desc())
        .limit(literal_column("1"))
        .scalar_subquery()
    )
    each = select(newest.label("day_nanos")).where(volume.account_id == account, volume.deleted_at.is_(None))
    existing = each.subquery("existing")
    sums = exact_sum(existing.c.day_nanos, postgresql=postgresql)
    return select(account.label("account_id"), *(one.label(f"sum_{part}") for part, one in enumerate(sums)))


@lru_cache(maxsize=2)
def _volume_statements(postgresql: bool) -> tuple[Select[Any], Select[Any] | None]:
    one = _volume_days(bindparam(THE_ACCOUNT, type_=BigInteger()), postgresql=postgresql)
    if not postgresql:
        return one, None
    return one, for_each_account(lambda account: _volume_days(account, postgresql=True))


def volume_day_costs(postgresql: bool, account_ids: Sequence[int], _arguments: None) -> Read[dict[int, int]]:
    """Reads what the existing volumes cost per day at their newest rates, in nano-dollars."""

    def costs(found: Mapping[int, Rows]) -> dict[int, int]:
        return {account_id: exact_sums(row[1:], postgresql=postgresql)[0] for account_id, (row,) in found.items()}

    one, each = _volume_statements(postgresql)
    return read_each(account_ids, {}, costs, one=one, each=each)
