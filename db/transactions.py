"""Reading ledger rows: pages, single rows, balances in the past, counts and totals."""

from __future__ import annotations

from collections.abc import Sequence
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
    case,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)

from db import tables
from db.criteria import TransactionCriteria, Window
from db.database import Snapshot
from db.rows import TransactionRow
from db.statements import (
    THE_ACCOUNT,
    columns,
    contains_text,
    for_each_account,
    listed_accounts,
    read_each,
)
from db.tables import timestamp

_ROW: Final = tables.transactions

# Up to so many rows within an amount range are found by the amount and sorted; of more, the next ones are met
# soon enough on the way along the ledger.
SORTED_AMOUNTS: Final = 1_000

_NEVER: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Shape:
    """All that a statement's text depends on."""

    postgresql: bool
    kinds: int | None
    created_gte: bool
    created_lt: bool
    amount_gte: bool
    amount_lte: bool
    ref_type: bool
    ref_id: bool
    search: bool
    after: bool = False
    before: bool = False
    oldest: bool = False

    @property
    def amount(self) -> bool:
        return self.amount_gte or self.amount_lte


def _shape(snapshot: Snapshot, criteria: TransactionCriteria, window: Window | None = None) -> _Shape:
    return _Shape(
        postgresql=snapshot.is_postgresql,
        kinds=None if criteria.kinds is None else len(criteria.kinds),
        created_gte=criteria.created_gte is not None,
        created_lt=criteria.created_lt is not None,
        amount_gte=criteria.amount_gte is not None,
        amount_lte=criteria.amount_lte is not None,
        ref_type=criteria.ref_type is not None,
        ref_id=criteria.ref_id is not None,
        search=criteria.search is not None,
        after=window is not None and window.after is not None,
        before=window is not None and window.before is not None,
        oldest=window is not None and window.oldest,
    )


def _parameters(criteria: TransactionCriteria, window: Window | None = None) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: value
        for name in ("created_gte", "created_lt", "amount_gte", "amount_lte", "ref_type", "ref_id", "search")
        if (value := getattr(criteria, name)) is not None
    }
    for number, (kind, source) in enumerate(criteria.kinds or ()):
        values[f"type_{number}"], values[f"source_{number}"] = kind, source
    if window is not None:
        values["rows"] = window.limit
        if window.after is not None:
            values["after"] = window.after
        if window.before is not None:
            values["before"] = window.before
    return values


def _first_seq_since(account: ColumnElement[int], parameter: str) -> Any:
    """Order of time is order of `seq`, so a time bound is a bound of `seq`, found by one look-up."""
    since = _ROW.alias()
    return (
        select(since.c.seq)
        .where(since.c.account_id == account, since.c.created_at >= bindparam(parameter, type_=timestamp()))
        .order_by(since.c.created_at, since.c.seq)
        .limit(1)
        .scalar_subquery()
    )


def _bounds(row: Any, account: ColumnElement[int], shape: _Shape) -> list[ColumnElement[bool]]:
    """What limits the rows to a stretch of `seq`."""
    bounds: list[ColumnElement[bool]] = [row.c.account_id == account]
    if shape.after:
        bounds.append(row.c.seq < bindparam("after", type_=BigInteger()))
    if shape.before:
        bounds.append(row.c.seq > bindparam("before", type_=BigInteger()))
    if shape.created_gte:
        bounds.append(row.c.seq >= _first_seq_since(account, "created_gte"))
    if shape.created_lt:
        bounds.append(row.c.seq < func.coalesce(_first_seq_since(account, "created_lt"), _NEVER))
    return bounds


def _details(row: Any, shape: _Shape) -> list[ColumnElement[bool]]:
    details: list[ColumnElement[bool]] = []
    if shape.ref_type:
        details.append(row.c.ref_type == bindparam("ref_type"))
    if shape.ref_id:
        details.append(row.c.ref_id == bindparam("ref_id"))
    if shape.search:
        details.append(
            or_(
                contains_text(row.c.description, "search", postgresql=shape.postgresql),
                contains_text(row.c.ref_id, "search", postgresql=shape.postgresql),
            )
        )
    return details


def _amounts(amount: ColumnElement[int], shape: _Shape) -> list[ColumnElement[bool]]:
    limits: list[ColumnElement[bool]] = []
    if shape.amount_gte:
        limits.append(amount >= bindparam("amount_gte", type_=BigInteger()))
    if shape.amount_lte:
        limits.append(amount <= bindparam("amount_lte", type_=BigInteger()))
    return limits


def _kind(row: Any, number: int) -> ColumnElement[bool]:
    return and_(row.c.type == bindparam(f"type_{number}"), row.c.source == bindparam(f"source_{number}"))


def _in_order(seq: ColumnElement[int], shape: _Shape) -> Any:
    return seq.asc() if shape.oldest else seq.desc()


def _rows_limit() -> Any:
    return bindparam("rows", type_=BigInteger())


def _seqs_along_the_ledger(account: ColumnElement[int], shape: _Shape, *extra: ColumnElement[bool]) -> Select[Any]:
    """The page's `seq`, found in the order of `seq`: several kinds are merged, each from its own index run."""

    def run(*kind: Any) -> Select[Any]:
        row = _ROW.alias()
        conditions = [*_bounds(row, account, shape), *_details(row, shape)]
        # The sum keeps the planner off the index by amount: what that one finds is not in the order of seq.
        conditions += _amounts(row.c.amount_nanos + literal(0, BigInteger()), shape)
        conditions += [_kind(row, number) for number in kind]
        return select(row.c.seq).where(*conditions, *extra).order_by(_in_order(row.c.seq, shape)).limit(_rows_limit())

    if shape.kinds is None:
        return run()
    runs = [run(number).subquery() for number in range(shape.kinds)]
    if len(runs) == 1:
        return select(runs[0].c.seq)
    merged = union_all(*(select(one.c.seq) for one in runs)).subquery()
    return select(merged.c.seq).order_by(_in_order(merged.c.seq, shape)).limit(_rows_limit())


def _seqs_by_amount(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    """The page's `seq` under an amount filter: sorted where few rows have such an amount, else along the ledger."""
    probe = _ROW.alias()
    few = (
        select(probe.c.seq)
        .where(probe.c.account_id == account, *_amounts(probe.c.amount_nanos, shape))
        .limit(SORTED_AMOUNTS + 1)
    )
    counted = select(func.count().label("found")).select_from(few.subquery()).scalar_subquery()
    row = _ROW.alias()
    candidates = few.subquery()
    conditions = [*_bounds(row, account, shape), *_details(row, shape)]
    if shape.kinds is not None:
        conditions.append(or_(*(_kind(row, number) for number in range(shape.kinds))))
    by_amount = (
        select(row.c.seq)
        .select_from(candidates.join(row, and_(row.c.account_id == account, row.c.seq == candidates.c.seq)))
        .where(*conditions, counted <= SORTED_AMOUNTS)
        .order_by(_in_order(row.c.seq, shape))
        .limit(_rows_limit())
        .subquery()
    )
    along = _seqs_along_the_ledger(account, shape, counted > SORTED_AMOUNTS).subquery()
    return union_all(select(by_amount.c.seq), select(along.c.seq)).subquery().select()


def _page(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    chosen = columns(_ROW, TransactionRow)
    if shape.kinds == 0:
        return select(*chosen).where(literal(1) == literal(0))
    if shape.kinds is None and not shape.amount:
        conditions = [*_bounds(_ROW, account, shape), *_details(_ROW, shape)]
        page = select(*chosen).where(*conditions)
    else:
        seqs = _seqs_by_amount if shape.amount else _seqs_along_the_ledger
        found = seqs(account, shape).subquery()
        page = select(*chosen).select_from(
            found.join(_ROW, and_(_ROW.c.account_id == account, _ROW.c.seq == found.c.seq))
        )
    return page.order_by(_in_order(_ROW.c.seq, shape)).limit(_rows_limit())


@lru_cache(maxsize=512)
def _page_of_one(shape: _Shape) -> Select[Any]:
    return _page(bindparam(THE_ACCOUNT, type_=BigInteger()), shape)


@lru_cache(maxsize=512)
def _page_of_each(shape: _Shape) -> Select[Any] | None:
    if not shape.postgresql:
        return None
    listed = listed_accounts()
    return for_each_account(listed, _page(listed.c.id, shape))


async def transaction_pages(
    snapshot: Snapshot, account_ids: Sequence[int], criteria: TransactionCriteria, window: Window
) -> dict[int, list[TransactionRow]]:
    """Up to `window.limit` rows of each account: newest first, or oldest first if the window wants the oldest."""
    shape = _shape(snapshot, criteria, window)
    pages = await read_each(
        snapshot,
        account_ids,
        _parameters(criteria, window),
        one=_page_of_one(shape),
        each=_page_of_each(shape),
    )
    return {account_id: [TransactionRow._make(row) for row in rows] for account_id, rows in pages.items()}


async def transactions_by_id(
    snapshot: Snapshot, ids: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], TransactionRow]:
    """By (account, seq)."""
    statement = select(*columns(_ROW, TransactionRow)).where(tuple_(_ROW.c.account_id, _ROW.c.seq).in_(ids))
    return {(row[0], row[1]): TransactionRow._make(row) for row in await snapshot.rows(statement)}


class TransactionTotalsRow(NamedTuple):
    account_id: int
    row_count: int
    credits_nanos: int
    debits_nanos: int


def _conditions(shape: _Shape, account: ColumnElement[int]) -> list[ColumnElement[bool]]:
    conditions = [*_bounds(_ROW, account, shape), *_details(_ROW, shape), *_amounts(_ROW.c.amount_nanos, shape)]
    if shape.kinds is not None:
        conditions.append(or_(*(_kind(_ROW, number) for number in range(shape.kinds)), literal(1) == literal(0)))
    return conditions


def _totals(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    amount = _ROW.c.amount_nanos
    return select(
        account.label("account_id"),
        func.count(),
        func.coalesce(func.sum(case((amount > 0, amount), else_=0)), 0),
        func.coalesce(func.sum(case((amount < 0, amount), else_=0)), 0),
    ).where(*_conditions(shape, account))


def _count(account: ColumnElement[int], shape: _Shape) -> Any:
    """`seq` has no gaps: the rows of a stretch of time are counted by its two ends."""
    row = _ROW.alias()

    def end(order: Any) -> Any:
        return select(row.c.seq).where(*_bounds(row, account, shape)).order_by(order).limit(1).scalar_subquery()

    if shape.kinds is None and not (shape.amount or shape.ref_type or shape.ref_id or shape.search):
        rows = func.coalesce(end(row.c.seq.desc()) - end(row.c.seq.asc()) + 1, 0)
        return select(account.label("account_id"), rows)
    return select(account.label("account_id"), func.count()).where(*_conditions(shape, account))


@lru_cache(maxsize=256)
def _figures_statements(shape: _Shape, counting: bool) -> tuple[Select[Any], Select[Any] | None]:
    build = _count if counting else _totals
    one = build(bindparam(THE_ACCOUNT, type_=BigInteger()), shape)
    if not shape.postgresql:
        return one, None
    listed = listed_accounts()
    return one, for_each_account(listed, build(listed.c.id, shape))


async def _figures(
    snapshot: Snapshot, account_ids: Sequence[int], criteria: TransactionCriteria, *, counting: bool
) -> dict[int, list[Any]]:
    one, each = _figures_statements(_shape(snapshot, criteria), counting)
    return await read_each(snapshot, account_ids, _parameters(criteria), one=one, each=each)


async def transaction_totals(
    snapshot: Snapshot, account_ids: Sequence[int], criteria: TransactionCriteria
) -> dict[int, TransactionTotalsRow]:
    found = await _figures(snapshot, account_ids, criteria, counting=False)
    return {account: TransactionTotalsRow(account, *map(int, rows[0][1:])) for account, rows in found.items()}


async def transaction_counts(
    snapshot: Snapshot, account_ids: Sequence[int], criteria: TransactionCriteria
) -> dict[int, int]:
    found = await _figures(snapshot, account_ids, criteria, counting=True)
    return {account: int(rows[0][1]) for account, rows in found.items()}


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
    listed = listed_accounts()
    return one, for_each_account(listed, _balance(listed.c.id))


async def balances_as_of(snapshot: Snapshot, account_ids: Sequence[int], as_of: datetime) -> dict[int, int]:
    """The nano-dollars of each account after its newest row of that moment or before; 0 before the first."""
    one, each = _balance_statements(snapshot.is_postgresql)
    found = await read_each(snapshot, account_ids, {"as_of": as_of}, one=one, each=each)
    return {account: rows[0][1] if rows else 0 for account, rows in found.items()}
