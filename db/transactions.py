"""Reading ledger rows: pages, single rows, balances in the past, counts and totals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    and_,
    bindparam,
    false,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)

from db import tables
from db.connections.snapshots import Read, Rows, Wanted
from db.filters import TransactionFilter, Window
from db.folding import fold
from db.keyed_rows import key_arrays, keyed_statement, read_with_keys
from db.rows import FOLDED_OF_TRANSACTIONS, TransactionRow, named, row_of
from db.statements import (
    THE_ACCOUNT,
    column_names,
    columns,
    contains_text,
    counts_of_each,
    exact_sum,
    exact_sums,
    for_each_account,
    nothing_of_each,
    read_each,
)
from db.tables import timestamp

_ROW: Final = tables.transactions
_COLUMNS: Final = tuple(columns(_ROW, TransactionRow))

# Up to so many rows within an amount range are found by the amount and sorted; of more, the next ones are met
# soon enough on the way along the ledger.
SORTED_AMOUNTS: Final = 1_000

MAX_BIGINT: Final = 2**63 - 1
NEVER: Final = MAX_BIGINT


@dataclass(frozen=True, slots=True)
class _Shape:
    """All that a statement's text depends on."""

    postgresql: bool
    kinds: int | None
    created_gte: bool
    created_lt: bool
    amount: bool
    """One amount and no other."""
    amount_gte: bool
    amount_lte: bool
    ref_type: bool
    ref_id: bool
    search: bool
    after: bool = False
    before: bool = False
    oldest: bool = False
    columns: tuple[str, ...] = TransactionRow._fields

    @property
    def bounds_time_alone(self) -> bool:
        texts = self.ref_type or self.ref_id or self.search
        return self.kinds is None and not (self.amount or self.amount_gte or self.amount_lte or texts)


def _one_amount(row_filter: TransactionFilter) -> bool:
    return row_filter.amount_gte is not None and row_filter.amount_gte == row_filter.amount_lte


def _shape(postgresql: bool, row_filter: TransactionFilter, window: Window | None = None) -> _Shape:
    exact = _one_amount(row_filter)
    return _Shape(
        postgresql=postgresql,
        kinds=None if row_filter.kinds is None else len(row_filter.kinds),
        created_gte=row_filter.created_gte is not None,
        created_lt=row_filter.created_lt is not None,
        amount=exact,
        amount_gte=row_filter.amount_gte is not None and not exact,
        amount_lte=row_filter.amount_lte is not None and not exact,
        ref_type=row_filter.ref_type is not None,
        ref_id=row_filter.ref_id is not None,
        search=row_filter.search is not None,
        after=window is not None and window.after is not None,
        before=window is not None and window.before is not None,
        oldest=window is not None and window.oldest,
        columns=column_names(TransactionRow, ("account_id", "seq"), None if window is None else window.columns),
    )


def _parameters(row_filter: TransactionFilter, window: Window | None = None) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: value
        for name in ("created_gte", "created_lt", "amount_gte", "amount_lte", "ref_type", "ref_id")
        if (value := getattr(row_filter, name)) is not None
    }
    if row_filter.search is not None:
        values["search"] = fold(row_filter.search)
    if _one_amount(row_filter):
        del values["amount_lte"]
        values["amount"] = values.pop("amount_gte")
    for number, (kind, source) in enumerate(row_filter.kinds or ()):
        values[f"type_{number}"], values[f"source_{number}"] = kind, source
    if window is not None:
        values["rows"] = window.limit
        if window.after is not None:
            values["after"] = window.after
        if window.before is not None:
            values["before"] = window.before
    return values


def first_seq_since(account: ColumnElement[int], parameter: str) -> Any:
    """Order of time is order of `seq`, so a time bound is a bound of `seq`, found by one look-up."""
    since = _ROW.alias()
    return (
        select(since.c.seq)
        .where(since.c.account_id == account, since.c.created_at >= bindparam(parameter, type_=timestamp()))
        .order_by(since.c.created_at, since.c.seq)
        .limit(1)
        .scalar_subquery()
    )


def _seq_bounds(row: Any, account: ColumnElement[int], shape: _Shape) -> list[ColumnElement[bool]]:
    """What limits the rows to a stretch of `seq`."""
    bounds: list[ColumnElement[bool]] = []
    if shape.after:
        bounds.append(row.c.seq < bindparam("after", type_=BigInteger()))
    if shape.before:
        bounds.append(row.c.seq > bindparam("before", type_=BigInteger()))
    if shape.created_gte:
        bounds.append(row.c.seq >= first_seq_since(account, "created_gte"))
    if shape.created_lt:
        bounds.append(row.c.seq < func.coalesce(first_seq_since(account, "created_lt"), NEVER))
    return bounds


def _bounds(row: Any, account: ColumnElement[int], shape: _Shape) -> list[ColumnElement[bool]]:
    return [row.c.account_id == account, *_seq_bounds(row, account, shape)]


def _amounts(amount: ColumnElement[int], shape: _Shape) -> list[ColumnElement[bool]]:
    limits: list[ColumnElement[bool]] = []
    if shape.amount_gte:
        limits.append(amount >= bindparam("amount_gte", type_=BigInteger()))
    if shape.amount_lte:
        limits.append(amount <= bindparam("amount_lte", type_=BigInteger()))
    return limits


def _unindexed(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The same value, of which no index knows: whatever a planner believes, it looks for another column."""
    return column + (literal(0, BigInteger()) if isinstance(column.type, BigInteger) else literal(""))


def _kind(row: Any, number: int, *, indexed: bool) -> ColumnElement[bool]:
    kind, source = row.c.type, row.c.source
    if not indexed:
        kind, source = _unindexed(kind), _unindexed(source)
    return and_(kind == bindparam(f"type_{number}"), source == bindparam(f"source_{number}"))


def _kinds(row: Any, shape: _Shape, *, indexed: bool = True) -> ColumnElement[bool]:
    if shape.kinds is None:
        return true()
    return or_(*(_kind(row, number, indexed=indexed) for number in range(shape.kinds)), literal(1) == literal(0))


def _details(row: Any, shape: _Shape, *, indexed: bool = True) -> list[ColumnElement[bool]]:
    details: list[ColumnElement[bool]] = []
    if shape.amount:
        amount = row.c.amount_nanos if indexed else _unindexed(row.c.amount_nanos)
        details.append(amount == bindparam("amount", type_=BigInteger()))
    if shape.ref_type:
        details.append(row.c.ref_type == bindparam("ref_type"))
    if shape.ref_id:
        details.append(row.c.ref_id == bindparam("ref_id"))
    if shape.search:
        details.append(
            or_(
                contains_text(row.c.description, row.c.description_folded, "search", postgresql=shape.postgresql),
                contains_text(row.c.ref_id, row.c.ref_id_folded, "search", postgresql=shape.postgresql),
            )
        )
    return details


def _in_order(seq: ColumnElement[int], shape: _Shape) -> Any:
    return seq.asc() if shape.oldest else seq.desc()


def _rows_limit() -> Any:
    return bindparam("rows", type_=BigInteger())


def _along_the_ledger(
    account: ColumnElement[int], shape: _Shape, names: Sequence[str], *extra: ColumnElement[bool]
) -> Select[Any]:
    """The page, met in the order of `seq`: under a filter by kind, the merge of an index run for each kind."""

    # A resource has few rows, whatever else is asked of them.
    indexed = not shape.ref_id

    def run(kinds: Callable[[Any], ColumnElement[bool]]) -> Select[Any]:
        row = _ROW.alias()
        # What the index by amount finds in a range is not in the order of seq.
        amounts = _amounts(_unindexed(row.c.amount_nanos), shape)
        details = _details(row, shape, indexed=indexed)
        return (
            select(*(row.c[name] for name in names))
            .where(*_bounds(row, account, shape), kinds(row), *details, *amounts, *extra)
            .order_by(_in_order(row.c.seq, shape))
            .limit(_rows_limit())
        )

    def run_of(number: int) -> Select[Any]:
        return run(lambda row: _kind(row, number, indexed=indexed))

    if shape.kinds == 1:
        return run_of(0)
    # A run is read until its next match, though that be the oldest row: where a text or one resource is looked
    # for, the rows of all kinds are looked at in turn instead.
    if shape.kinds is None or shape.amount or shape.ref_id or shape.search:
        return run(lambda row: _kinds(row, shape, indexed=indexed))
    merged = union_all(*(run_of(number).subquery().select() for number in range(shape.kinds))).subquery()
    return merged.select().order_by(_in_order(merged.c.seq, shape)).limit(_rows_limit())


def _seqs_by_amount(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    """The page's `seq` in a range of amounts: sorted where few rows have such an amount, else along the ledger."""

    row = _ROW.alias()

    def in_range(limit: int, *names: str) -> Select[Any]:
        # In the index's own order, so that no plan looks for them among the rows of other amounts.
        return (
            select(*(row.c[name] for name in names))
            .where(row.c.account_id == account, *_amounts(row.c.amount_nanos, shape))
            .order_by(row.c.amount_nanos, row.c.seq)
            .limit(limit)
        )

    reached = in_range(SORTED_AMOUNTS + 1, "seq").cte("reached")
    count = select(func.count()).select_from(reached).scalar_subquery()
    if shape.kinds is None and not (shape.ref_type or shape.search):
        few = select(reached.c.seq).where(*_seq_bounds(reached, account, shape), count <= SORTED_AMOUNTS)
    else:
        # The limit cuts nothing off: it keeps the other filters out, and with them the indexes that they would use.
        # Nor does the comparison: it asks for the row itself, lest another index be read whole for the amounts in it.
        whole_rows = (count <= SORTED_AMOUNTS, row.c.description >= literal(""))
        names = (*TransactionRow._fields, *FOLDED_OF_TRANSACTIONS)
        all_of_few = in_range(SORTED_AMOUNTS, *names).where(*whole_rows).subquery()
        details = _details(all_of_few, shape)
        few = select(all_of_few.c.seq).where(
            *_seq_bounds(all_of_few, account, shape), _kinds(all_of_few, shape), *details
        )
    by_amount = few.order_by(_in_order(few.selected_columns.seq, shape)).limit(_rows_limit()).subquery()
    along = _along_the_ledger(account, shape, ["seq"], count > SORTED_AMOUNTS).subquery()
    return union_all(by_amount.select(), along.select()).subquery().select().add_cte(reached, nest_here=True)


def _page(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    if shape.kinds == 0:
        return select(*(_ROW.c[name] for name in shape.columns)).where(false())
    if not (shape.amount_gte or shape.amount_lte) or shape.ref_id:
        return _along_the_ledger(account, shape, shape.columns)
    found = _seqs_by_amount(account, shape).subquery()
    return (
        select(*(_ROW.c[name] for name in shape.columns))
        .select_from(found.join(_ROW, and_(_ROW.c.account_id == account, _ROW.c.seq == found.c.seq)))
        .order_by(_in_order(_ROW.c.seq, shape))
        .limit(_rows_limit())
    )


@lru_cache(maxsize=512)
def _page_of_one(shape: _Shape) -> Select[Any]:
    return _page(bindparam(THE_ACCOUNT, type_=BigInteger()), shape)


@lru_cache(maxsize=512)
def _page_of_each(shape: _Shape) -> Select[Any] | None:
    if not shape.postgresql:
        return None
    return for_each_account(lambda account: _page(account, shape))


def transaction_page_statement(
    postgresql: bool, row_filter: TransactionFilter, window: Window
) -> tuple[Select[Any], dict[str, Any]]:
    """The page of one account, with the parameters but for the account's."""
    return _page_of_one(_shape(postgresql, row_filter, window)), _parameters(row_filter, window)


def transaction_pages(
    postgresql: bool, account_ids: Sequence[int], row_filter: TransactionFilter, window: Window
) -> Read[dict[int, list[TransactionRow]]]:
    """Up to `window.limit` rows of each account: newest first, or oldest first if the window wants the oldest."""
    if window.unread:
        return nothing_of_each(account_ids)
    shape = _shape(postgresql, row_filter, window)
    row_type = row_of(TransactionRow, shape.columns)

    def pages(found: Mapping[int, Rows]) -> dict[int, list[TransactionRow]]:
        return {account_id: named(row_type, rows) for account_id, rows in found.items()}

    one, each = _page_of_one(shape), _page_of_each(shape)
    return read_each(account_ids, _parameters(row_filter, window), pages, one=one, each=each)


_ID: Final = (_ROW.c.account_id, _ROW.c.seq)


@lru_cache(maxsize=1)
def _with_answered_statement() -> Select[Any]:
    """PostgreSQL: the rows, each with the one that it answers."""
    answered = _ROW.alias()
    answers = and_(answered.c.account_id == _ROW.c.account_id, answered.c.seq == _ROW.c.corrects_seq)
    return (
        keyed_statement(_COLUMNS, _ID)
        .add_columns(*(answered.c[name] for name in TransactionRow._fields))
        .outerjoin(answered, answers)
    )


def transactions_by_id(postgresql: bool, ids: Sequence[tuple[int, int]]) -> Read[dict[tuple[int, int], TransactionRow]]:
    """By (account, seq). An id that is asked for after others were read comes from a row that was read.

    On PostgreSQL the rows that they answer come along: they are often asked for next, which would be a round trip more.
    """
    width = len(_COLUMNS)

    def by_id(rows: Iterable[Any]) -> dict[tuple[int, int], TransactionRow]:
        return {(row[0], row[1]): TransactionRow._make(row) for row in rows}

    def with_answered(found: Sequence[Rows]) -> dict[tuple[int, int], TransactionRow]:
        answered = (row[width:] for row in found[0] if row[width] is not None)
        return by_id(answered) | by_id(row[:width] for row in found[0])

    if postgresql:
        wanted = Wanted(_with_answered_statement(), key_arrays(_ID, set(ids)), immutable=True)
        return Read((wanted,), with_answered)
    return read_with_keys(_COLUMNS, _ID, set(ids), by_id, postgresql=False, immutable=True)


_HASHED: Final = (*_ID, _ROW.c.hash)


def hashes_by_id(postgresql: bool, ids: Sequence[tuple[int, int]]) -> Read[dict[tuple[int, int], bytes]]:
    """The hashes of rows, by (account, seq)."""

    def by_id(rows: Iterable[Any]) -> dict[tuple[int, int], bytes]:
        return {(row[0], row[1]): row[2] for row in rows}

    return read_with_keys(_HASHED, _ID, set(ids), by_id, postgresql=postgresql)


class TransactionTotalsRow(NamedTuple):
    account_id: int
    row_count: int
    credits_nanos: int
    debits_nanos: int


def _conditions(shape: _Shape, account: ColumnElement[int]) -> list[ColumnElement[bool]]:
    found = [*_bounds(_ROW, account, shape), *_details(_ROW, shape), *_amounts(_ROW.c.amount_nanos, shape)]
    return [*found, _kinds(_ROW, shape)]


def _totals(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    """What `_sums` or, for a stretch of time, `_sums_of_stretch` makes the totals of."""
    if shape.bounds_time_alone:
        return _totals_of_stretch(account, shape)
    amount = _ROW.c.amount_nanos
    return select(
        account.label("account_id"),
        func.count(),
        *exact_sum(amount, postgresql=shape.postgresql, only=amount > 0),
        *exact_sum(amount, postgresql=shape.postgresql, only=amount < 0),
    ).where(*_conditions(shape, account))


def _end(account: ColumnElement[int], shape: _Shape, *, oldest: bool) -> Any:
    """The oldest or the newest row of a stretch of time."""
    row = _ROW.alias()
    columns = (row.c.seq, row.c.amount_nanos, row.c.balance_after_nanos)
    order = row.c.seq.asc() if oldest else row.c.seq.desc()
    return select(*columns).where(*_bounds(row, account, shape)).order_by(order).limit(1).subquery()


def _totals_of_stretch(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    """`seq` has no gaps and balances add up, so the two ends tell the count and the net: what is left to add up is
    the credits, which are fewer than the debits and lie together in the index by amount."""
    oldest, newest = _end(account, shape, oldest=True), _end(account, shape, oldest=False)
    row = _ROW.alias()
    of_credits = (*_bounds(row, account, shape), row.c.amount_nanos > 0)
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


def _count(account: ColumnElement[int], shape: _Shape) -> Any:
    """`seq` has no gaps: the rows of a stretch of time are counted by its two ends."""
    if shape.bounds_time_alone:
        ends = (_end(account, shape, oldest=oldest) for oldest in (False, True))
        newest, oldest = (select(end.c.seq).scalar_subquery() for end in ends)
        return select(account.label("account_id"), func.coalesce(newest - oldest + 1, 0))
    return select(account.label("account_id"), func.count()).where(*_conditions(shape, account))


@lru_cache(maxsize=256)
def _figures_statements(shape: _Shape, counting: bool) -> tuple[Select[Any], Select[Any] | None]:
    build = _count if counting else _totals
    one = build(bindparam(THE_ACCOUNT, type_=BigInteger()), shape)
    if not shape.postgresql:
        return one, None
    return one, for_each_account(lambda account: build(account, shape))


def transaction_totals(
    postgresql: bool, account_ids: Sequence[int], row_filter: TransactionFilter
) -> Read[dict[int, TransactionTotalsRow]]:
    shape = _shape(postgresql, row_filter)
    sums = _sums_of_stretch if shape.bounds_time_alone else _sums

    def totals(found: Mapping[int, Rows]) -> dict[int, TransactionTotalsRow]:
        return {account: sums(account, rows, postgresql=postgresql) for account, rows in found.items()}

    one, each = _figures_statements(shape, counting=False)
    return read_each(account_ids, _parameters(row_filter), totals, one=one, each=each)


def transaction_counts(
    postgresql: bool, account_ids: Sequence[int], row_filter: TransactionFilter
) -> Read[dict[int, int]]:
    one, each = _figures_statements(_shape(postgresql, row_filter), counting=True)
    return read_each(account_ids, _parameters(row_filter), counts_of_each, one=one, each=each)


def _balance(account: ColumnElement[int]) -> Select[Any]:
    return (
        select(_ROW.c.account_id, _ROW.c.balance_after_nanos)
        .where(_ROW.c.account_id == account, _ROW.c.created_at <= bindparam("as_of", type_=timestamp()))
        .order_by(_ROW.c.created_at.desc(), _ROW.c.seq.desc())
        .limit(1)
    )


@lru_cache(maxsize=2)
def _balance_statements(postgresql: bool) -> tuple[Select[Any], Select[Any] | None]:
    one = _balance(bindparam(THE_ACCOUNT, type_=BigInteger()))
    if not postgresql:
        return one, None
    return one, for_each_account(_balance)


def balances_as_of(postgresql: bool, account_ids: Sequence[int], as_of: datetime) -> Read[dict[int, int]]:
    """The nano-dollars of each account after its newest row of that moment or before; 0 before the first."""

    def balances(found: Mapping[int, Rows]) -> dict[int, int]:
        return {account: rows[0][1] if rows else 0 for account, rows in found.items()}

    one, each = _balance_statements(postgresql)
    return read_each(account_ids, {"as_of": as_of}, balances, one=one, each=each)
