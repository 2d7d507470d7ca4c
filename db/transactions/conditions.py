"""Conditions on an account's rows. The text depends on a shape; the values are parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, and_, bindparam, func, literal, or_, select, true

from db import tables
from db.filters import TransactionFilter, Window
from db.folding import fold
from db.rows import TransactionRow
from db.statements import column_names, contains_text
from db.tables import timestamp

ROW: Final = tables.transactions

NEVER: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything that determines a statement's text."""

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


def shape_of(postgresql: bool, row_filter: TransactionFilter, window: Window | None = None) -> Shape:
    exact = _one_amount(row_filter)
    return Shape(
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


def parameters_of(row_filter: TransactionFilter, window: Window | None = None) -> dict[str, Any]:
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
    since = ROW.alias()
    return (
        select(since.c.seq)
        .where(since.c.account_id == account, since.c.created_at >= bindparam(parameter, type_=timestamp()))
        .order_by(since.c.created_at, since.c.seq)
        .limit(1)
        .scalar_subquery()
    )


def seq_bounds(row: Any, account: ColumnElement[int], shape: Shape) -> list[ColumnElement[bool]]:
    """Returns the conditions that limit the rows to a range of `seq`."""
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


def bounds(row: Any, account: ColumnElement[int], shape: Shape) -> list[ColumnElement[bool]]:
    return [row.c.account_id == account, *seq_bounds(row, account, shape)]


def amount_limits(amount: ColumnElement[int], shape: Shape) -> list[ColumnElement[bool]]:
    limits: list[ColumnElement[bool]] = []
    if shape.amount_gte:
        limits.append(amount >= bindparam("amount_gte", type_=BigInteger()))
    if shape.amount_lte:
        limits.append(amount <= bindparam("amount_lte", type_=BigInteger()))
    return limits


def unindexed(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Returns the same value in a form that no index serves, so that no planner uses an index for it."""
    return column + (literal(0, BigInteger()) if isinstance(column.type, BigInteger) else literal(""))


def of_kind(row: Any, number: int, *, indexed: bool) -> ColumnElement[bool]:
    kind, source = row.c.type, row.c.source
    if not indexed:
        kind, source = unindexed(kind), unindexed(source)
    return and_(kind == bindparam(f"type_{number}"), source == bindparam(f"source_{number}"))


def of_kinds(row: Any, shape: Shape, *, indexed: bool = True) -> ColumnElement[bool]:
    if shape.kinds is None:
        return true()
    return or_(*(of_kind(row, number, indexed=indexed) for number in range(shape.kinds)), literal(1) == literal(0))


def details_of(row: Any, shape: Shape, *, indexed: bool = True) -> list[ColumnElement[bool]]:
    details: list[ColumnElement[bool]] = []
    if shape.amount:
        amount = row.c.amount_nanos if indexed else unindexed(row.c.amount_nanos)
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
