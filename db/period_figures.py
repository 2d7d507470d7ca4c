"""Period figures: an account's balance before and after a period, and what rows of some kinds moved in it.

Order of time is order of `seq`, so the ends of a period are found by one look-up each, however long the ledger is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, literal_column, select, union_all

from db.archive.past import past_sums
from db.archive.reach import Reach, reach_of
from db.connections.snapshots import Past, Read, Rows
from db.filters import TransactionFilter
from db.statements import THE_ACCOUNT, exact_sum, exact_sums, for_each_account, read_each
from db.tables import timestamp
from db.transactions.conditions import ROW, Shape, bounds, of_kind, parameters_of, shape_of


class PeriodEnds(NamedTuple):
    """The newest row before the period and the newest row before its end; zeros if there is none."""

    opening_seq: int
    opening_nanos: int
    closing_seq: int
    closing_nanos: int


def _newest_before(account: ColumnElement[int], parameter: str) -> list[ColumnElement[Any]]:
    """Selects `seq` and balance of the newest row before a moment."""
    row = ROW.alias()
    return [
        select(column)
        .where(row.c.account_id == account, row.c.created_at < bindparam(parameter, type_=timestamp()))
        .order_by(row.c.created_at.desc(), row.c.seq.desc())
        .limit(1)
        .scalar_subquery()
        for column in (row.c.seq, row.c.balance_after_nanos)
    ]


def _ends(account: ColumnElement[int]) -> Select[Any]:
    found = [*_newest_before(account, "period_start"), *_newest_before(account, "period_end")]
    return select(account.label("account_id"), *(one.label(f"end_{number}") for number, one in enumerate(found)))


@lru_cache(maxsize=2)
def _ends_statements(postgresql: bool) -> tuple[Select[Any], Select[Any] | None]:
    one = _ends(bindparam(THE_ACCOUNT, type_=BigInteger()))
    return one, for_each_account(_ends) if postgresql else None


def period_ends(
    postgresql: bool, account_ids: Sequence[int], period: tuple[datetime, datetime]
) -> Read[dict[int, PeriodEnds]]:
    """Reads the ends of a period, whose end is exclusive."""

    def ends(found: Mapping[int, Rows]) -> dict[int, PeriodEnds]:
        return {account_id: PeriodEnds._make(end or 0 for end in row[1:]) for account_id, (row,) in found.items()}

    one, each = _ends_statements(postgresql)
    given = {"period_start": period[0], "period_end": period[1]}
    past = _past_ends(account_ids, lambda account_id: period_ends(False, [account_id], period))
    return read_each(account_ids, given, ends, one=one, each=each, past=past)


def _past_ends(
    account_ids: Sequence[int], of_sqlite: Callable[[int], Read[dict[int, PeriodEnds]]]
) -> Past[dict[int, PeriodEnds]]:
    def newest(live: PeriodEnds, past: PeriodEnds) -> PeriodEnds:
        return PeriodEnds(*(live[:2] if live.opening_seq else past[:2]), *(live[2:] if live.closing_seq else past[2:]))

    past = past_sums(account_ids, Reach(), of_sqlite, newest)
    return replace(past, needed=lambda live, _: any(not one.opening_seq for one in live.values()))


def _sums(account: ColumnElement[int], shape: Shape) -> Select[Any]:
    """Selects a row for each kind: its number and its sum."""

    def sum_of(number: int) -> Select[Any]:
        row = ROW.alias()
        sums = exact_sum(row.c.amount_nanos, postgresql=shape.postgresql)
        return select(
            account.label("account_id"),
            literal_column(str(number), BigInteger()).label("kind"),
            *(one.label(f"sum_{part}") for part, one in enumerate(sums)),
        ).where(*bounds(row, account, shape), of_kind(row, number, indexed=True))

    return union_all(*(sum_of(number) for number in range(shape.kinds or 0))).subquery().select()


@lru_cache(maxsize=16)
def _sums_statements(shape: Shape) -> tuple[Select[Any], Select[Any] | None]:
    one = _sums(bindparam(THE_ACCOUNT, type_=BigInteger()), shape)
    return one, for_each_account(lambda account: _sums(account, shape)) if shape.postgresql else None


def kind_sums(
    postgresql: bool, account_ids: Sequence[int], row_filter: TransactionFilter
) -> Read[dict[int, dict[tuple[str, str], int]]]:
    """Reads the sum of each kind of the filter in its range of time. The filter must have kinds, and nothing else."""
    kinds = row_filter.kinds
    assert kinds

    def sums(found: Mapping[int, Rows]) -> dict[int, dict[tuple[str, str], int]]:
        return {
            account_id: {kinds[row[1]]: exact_sums(row[2:], postgresql=postgresql)[0] for row in rows}
            for account_id, rows in found.items()
        }

    one, each = _sums_statements(shape_of(postgresql, row_filter))
    past = past_sums(
        account_ids, reach_of(row_filter), lambda account_id: kind_sums(False, [account_id], row_filter), _added
    )
    return read_each(account_ids, parameters_of(row_filter), sums, one=one, each=each, past=past)


def _added(live: dict[tuple[str, str], int], past: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    return {kind: nanos + past[kind] for kind, nanos in live.items()}
