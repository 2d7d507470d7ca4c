"""Pages of an account's rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, and_, bindparam, false, func, literal, select, union_all

from db.archive.past import past_pages
from db.archive.reach import reach_of
from db.connections.snapshots import Read, Rows
from db.filters import TransactionFilter, Window
from db.rows import FOLDED_OF_TRANSACTIONS, TransactionRow, named, row_of
from db.statements import THE_ACCOUNT, for_each_account, nothing_of_each, read_each
from db.transactions.conditions import (
    ROW,
    Shape,
    amount_limits,
    bounds,
    details_of,
    of_kind,
    of_kinds,
    parameters_of,
    seq_bounds,
    shape_of,
    unindexed,
)

# If at most this many rows have an amount in the range, they are found by amount and sorted. If there are more,
# scanning the ledger meets the next ones soon enough.
SORTED_AMOUNTS: Final = 1_000


def _in_order(seq: ColumnElement[int], shape: Shape) -> Any:
    return seq.asc() if shape.oldest else seq.desc()


def _rows_limit() -> Any:
    return bindparam("rows", type_=BigInteger())


def _along_the_ledger(
    account: ColumnElement[int], shape: Shape, names: Sequence[str], *extra: ColumnElement[bool]
) -> Select[Any]:
    """Selects the page in the order of `seq`. With a filter by kind, merges one index range per kind."""

    # A resource has few rows, whatever the other filters are.
    indexed = not shape.ref_id

    def run(kinds: Callable[[Any], ColumnElement[bool]]) -> Select[Any]:
        row = ROW.alias()
        # Rows found by the index on amounts are not in the order of seq.
        amounts = amount_limits(unindexed(row.c.amount_nanos), shape)
        details = details_of(row, shape, indexed=indexed)
        return (
            select(*(row.c[name] for name in names))
            .where(*bounds(row, account, shape), kinds(row), *details, *amounts, *extra)
            .order_by(_in_order(row.c.seq, shape))
            .limit(_rows_limit())
        )

    def run_of(number: int) -> Select[Any]:
        return run(lambda row: of_kind(row, number, indexed=indexed))

    if shape.kinds == 1:
        return run_of(0)
    # A range is read until its next match, which may be the oldest row. So for a text or a single resource, the rows of
    # all kinds are scanned in order instead.
    if shape.kinds is None or shape.amount or shape.ref_id or shape.search:
        return run(lambda row: of_kinds(row, shape, indexed=indexed))
    merged = union_all(*(run_of(number).subquery().select() for number in range(shape.kinds))).subquery()
    return merged.select().order_by(_in_order(merged.c.seq, shape)).limit(_rows_limit())


def _seqs_by_amount(account: ColumnElement[int], shape: Shape) -> Select[Any]:
    """Selects the page's `seq` in a range of amounts: sorted if few rows have such an amount, else by scanning the
    ledger."""

    row = ROW.alias()

    def in_range(limit: int, *names: str) -> Select[Any]:
        # In the index's own order, so that no plan looks for them among the rows of other amounts.
        return (
            select(*(row.c[name] for name in names))
            .where(row.c.account_id == account, *amount_limits(row.c.amount_nanos, shape))
            .order_by(row.c.amount_nanos, row.c.seq)
            .limit(limit)
        )

    reached = in_range(SORTED_AMOUNTS + 1, "seq").cte("reached")
    count = select(func.count()).select_from(reached).scalar_subquery()
    if shape.kinds is None and not (shape.ref_type or shape.search):
        few = select(reached.c.seq).where(*seq_bounds(reached, account, shape), count <= SORTED_AMOUNTS)
    else:
        # The limit removes no row. It keeps the other filters out of this subquery, and so their indexes. The
        # comparison removes no row either: it reads the row itself, so that no other index is scanned whole for the
        # amounts in it.
        whole_rows = (count <= SORTED_AMOUNTS, row.c.description >= literal(""))
        names = (*TransactionRow._fields, *FOLDED_OF_TRANSACTIONS)
        all_of_few = in_range(SORTED_AMOUNTS, *names).where(*whole_rows).subquery()
        details = details_of(all_of_few, shape)
        few = select(all_of_few.c.seq).where(
            *seq_bounds(all_of_few, account, shape), of_kinds(all_of_few, shape), *details
        )
    by_amount = few.order_by(_in_order(few.selected_columns.seq, shape)).limit(_rows_limit()).subquery()
    along = _along_the_ledger(account, shape, ["seq"], count > SORTED_AMOUNTS).subquery()
    return union_all(by_amount.select(), along.select()).subquery().select().add_cte(reached, nest_here=True)


def _page(account: ColumnElement[int], shape: Shape) -> Select[Any]:
    if shape.kinds == 0:
        return select(*(ROW.c[name] for name in shape.columns)).where(false())
    if not (shape.amount_gte or shape.amount_lte) or shape.ref_id:
        return _along_the_ledger(account, shape, shape.columns)
    found = _seqs_by_amount(account, shape).subquery()
    return (
        select(*(ROW.c[name] for name in shape.columns))
        .select_from(found.join(ROW, and_(ROW.c.account_id == account, ROW.c.seq == found.c.seq)))
        .order_by(_in_order(ROW.c.seq, shape))
        .limit(_rows_limit())
    )


@lru_cache(maxsize=512)
def _page_of_one(shape: Shape) -> Select[Any]:
    return _page(bindparam(THE_ACCOUNT, type_=BigInteger()), shape)


@lru_cache(maxsize=512)
def _page_of_each(shape: Shape) -> Select[Any] | None:
    if not shape.postgresql:
        return None
    return for_each_account(lambda account: _page(account, shape))


def transaction_page_statement(
    postgresql: bool, row_filter: TransactionFilter, window: Window
) -> tuple[Select[Any], dict[str, Any]]:
    """Returns the statement for a page of one account, and its parameters except the account."""
    return _page_of_one(shape_of(postgresql, row_filter, window)), parameters_of(row_filter, window)


def transaction_pages(
    postgresql: bool, account_ids: Sequence[int], row_filter: TransactionFilter, window: Window
) -> Read[dict[int, list[TransactionRow]]]:
    """Reads up to `window.limit` rows per account, newest first, or oldest first if the window is `oldest`."""
    if window.unread:
        return nothing_of_each(account_ids)
    shape = shape_of(postgresql, row_filter, window)
    row_type = row_of(TransactionRow, shape.columns)

    def pages(found: Mapping[int, Rows]) -> dict[int, list[TransactionRow]]:
        return {account_id: named(row_type, rows) for account_id, rows in found.items()}

    one, each = _page_of_one(shape), _page_of_each(shape)
    past = past_pages(
        dict(zip(account_ids, account_ids, strict=True)),
        reach_of(row_filter, window),
        lambda account_id: transaction_pages(False, [account_id], row_filter, window),
        limit=window.limit,
        oldest=window.oldest,
    )
    return read_each(account_ids, parameters_of(row_filter, window), pages, one=one, each=each, past=past)
