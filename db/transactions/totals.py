"""Counts and totals of an account's rows, and its balance in the past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from operator import add
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, func, select, true

from db.archive.past import past_sums
from db.archive.reach import Reach, reach_of
from db.connections.snapshots import Past, Read, Rows
from db.filters import TransactionFilter
from db.statements import THE_ACCOUNT, counts_of_each, exact_sum, exact_sums, for_each_account, read_each
from db.tables import timestamp
from db.transactions.conditions import ROW, Shape, amount_limits, bounds, details_of, of_kinds, parameters_of, shape_of

if TYPE_CHECKING:
    from db.archive.reading import Archived

_MICROSECOND: Final = timedelta(microseconds=1)


class TransactionTotalsRow(NamedTuple):
    account_id: int
    row_count: int
    credits_nanos: int
    debits_nanos: int


def _conditions(shape: Shape, account: ColumnElement[int]) -> list[ColumnElement[bool]]:
    found = [*bounds(ROW, account, shape), *details_of(ROW, shape), *amount_limits(ROW.c.amount_nanos, shape)]
    return [*found, of_kinds(ROW, shape)]


def _totals(account: ColumnElement[int], shape: Shape) -> Select[Any]:
    """Computes the totals from the row of `_sums` or, for a period, of `_sums_of_stretch`."""
    if shape.bounds_time_alone:
        return _totals_of_stretch(account, shape)
    amount = ROW.c.amount_nanos
    return select(
        account.label("account_id"),
        func.count(),
        *exact_sum(amount, postgresql=shape.postgresql, only=amount > 0),
        *exact_sum(amount, postgresql=shape.postgresql, only=amount < 0),
    ).where(*_conditions(shape, account))


def _end(account: ColumnElement[int], shape: Shape, *, oldest: bool) -> Any:
    """Selects the oldest or the newest row of a period."""
    row = ROW.alias()
    columns = (row.c.seq, row.c.amount_nanos, row.c.balance_after_nanos)
    order = row.c.seq.asc() if oldest else row.c.seq.desc()
    return select(*columns).where(*bounds(row, account, shape)).order_by(order).limit(1).subquery()


def _totals_of_stretch(account: ColumnElement[int], shape: Shape) -> Select[Any]:
    """Selects the totals of a period. `seq` has no gaps and balances add up, so the two ends give the count and the
    net.

    Only the credits must be summed: they are fewer than the debits, and adjacent in the index on amounts.
    """
    oldest, newest = _end(account, shape, oldest=True), _end(account, shape, oldest=False)
    row = ROW.alias()
    of_credits = (*bounds(row, account, shape), row.c.amount_nanos > 0)
    credited = select(*exact_sum(row.c.amount_nanos, postgresql=shape.postgresql)).where(*of_credits).subquery()
    return select(
        account.label("account_id"), *oldest.c, newest.c.seq, newest.c.balance_after_nanos, *credited.c
    ).select_from(oldest.outerjoin(newest, true()).join(credited, true()))


def _sums(account_id: int, rows: Rows, *, postgresql: bool) -> TransactionTotalsRow:
    ((_, count, *sums),) = rows
    return TransactionTotalsRow(account_id, count, *exact_sums(sums, postgresql=postgresql))


def _sums_of_stretch(account_id: int, rows: Rows, *, postgresql: bool) -> TransactionTotalsRow:
    if not rows:
        return TransactionTotalsRow(account_id, 0, 0, 0)
    ((_, first_seq, first_amount, first_balance, last_seq, last_balance, *credited),) = rows
    (credits_nanos,) = exact_sums(credited, postgresql=postgresql)
    net_nanos = last_balance - (first_balance - first_amount)
    return TransactionTotalsRow(account_id, last_seq - first_seq + 1, credits_nanos, net_nanos - credits_nanos)


def _count(account: ColumnElement[int], shape: Shape) -> Any:
    """Selects the count. `seq` has no gaps, so the rows of a period are counted from its two ends."""
    if shape.bounds_time_alone:
        ends = (_end(account, shape, oldest=oldest) for oldest in (False, True))
        newest, oldest = (select(end.c.seq).scalar_subquery() for end in ends)
        return select(account.label("account_id"), func.coalesce(newest - oldest + 1, 0))
    return select(account.label("account_id"), func.count()).where(*_conditions(shape, account))


@lru_cache(maxsize=256)
def _figures_statements(shape: Shape, counting: bool) -> tuple[Select[Any], Select[Any] | None]:
    build = _count if counting else _totals
    one = build(bindparam(THE_ACCOUNT, type_=BigInteger()), shape)
    if not shape.postgresql:
        return one, None
    return one, for_each_account(lambda account: build(account, shape))


def transaction_totals(
    postgresql: bool, account_ids: Sequence[int], row_filter: TransactionFilter
) -> Read[dict[int, TransactionTotalsRow]]:
    shape = shape_of(postgresql, row_filter)
    sums = _sums_of_stretch if shape.bounds_time_alone else _sums

    def totals(found: Mapping[int, Rows]) -> dict[int, TransactionTotalsRow]:
        return {account: sums(account, rows, postgresql=postgresql) for account, rows in found.items()}

    one, each = _figures_statements(shape, counting=False)
    past = past_sums(
        account_ids,
        reach_of(row_filter),
        lambda account_id: transaction_totals(False, [account_id], row_filter),
        added_totals,
    )
    return read_each(account_ids, parameters_of(row_filter), totals, one=one, each=each, past=past)


def added_totals(live: TransactionTotalsRow, past: TransactionTotalsRow) -> TransactionTotalsRow:
    return TransactionTotalsRow(live.account_id, *map(add, live[1:], past[1:]))


def transaction_counts(
    postgresql: bool, account_ids: Sequence[int], row_filter: TransactionFilter
) -> Read[dict[int, int]]:
    one, each = _figures_statements(shape_of(postgresql, row_filter), counting=True)
    past = past_sums(
        account_ids, reach_of(row_filter), lambda account_id: transaction_counts(False, [account_id], row_filter), add
    )
    return read_each(account_ids, parameters_of(row_filter), counts_of_each, one=one, each=each, past=past)


def _balance(account: ColumnElement[int]) -> Select[Any]:
    return (
        select(ROW.c.account_id, ROW.c.balance_after_nanos)
        .where(ROW.c.account_id == account, ROW.c.created_at <= bindparam("as_of", type_=timestamp()))
        .order_by(ROW.c.created_at.desc(), ROW.c.seq.desc())
        .limit(1)
    )


@lru_cache(maxsize=2)
def _balance_statements(postgresql: bool) -> tuple[Select[Any], Select[Any] | None]:
    one = _balance(bindparam(THE_ACCOUNT, type_=BigInteger()))
    if not postgresql:
        return one, None
    return one, for_each_account(_balance)


def balances_as_of(postgresql: bool, account_ids: Sequence[int], as_of: datetime) -> Read[dict[int, int]]:
    """Reads the nano-dollars of each account after its newest row at or before the time; 0 before the first row."""

    def balances(found: Mapping[int, Rows]) -> dict[int, int]:
        return {account: rows[0][1] if rows else 0 for account, rows in found.items()}

    def joined(live: dict[int, int], rows: Sequence[Rows], archived: Archived) -> dict[int, int]:
        known = {row[0] for of_one in rows for row in of_one}
        found = dict(live)
        for account_id in archived.borders.keys() - known:
            # The newest file that begins in time has the row.
            until = archived.borders[account_id].until
            reach = Reach(created_lt=as_of + _MICROSECOND if as_of < until else None)
            for part in archived.parts(account_id, reach, oldest=False):
                past: dict[int, int] = part.read(balances_as_of(False, [account_id], as_of))
                found |= past
                break
        return found

    # A balance of 0 may be that of a live row, or of no row.
    archive = Past(account_ids, lambda live, _: not all(live.values()), joined)
    one, each = _balance_statements(postgresql)
    return read_each(account_ids, {"as_of": as_of}, balances, one=one, each=each, past=archive)
