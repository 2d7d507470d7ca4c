"""Usage days: reads pages and totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Date, Select, String, bindparam, func, select, tuple_

from db import tables
from db.connections.snapshots import Read, Rows
from db.filters import UsageFilter, Window
from db.rows import UsageDayRow, UsageFigures, named, row_of
from db.statements import (
    THE_ACCOUNT,
    column_names,
    exact_sum,
    exact_sums,
    for_each_account,
    is_one_of,
    nothing_of_each,
    read_each,
)

_ROW: Final = tables.usage_days
_POSITION: Final = (_ROW.c.day, _ROW.c.model, _ROW.c.category, _ROW.c.origin)
_PLACE: Final = ("account_id", *(column.name for column in _POSITION))
_LISTS: Final = {"models": _ROW.c.model, "categories": _ROW.c.category, "origins": _ROW.c.origin}


@dataclass(frozen=True, slots=True)
class _Shape:
    postgresql: bool
    day_gte: bool
    day_lt: bool
    lists: tuple[str, ...]
    after: bool = False
    before: bool = False
    oldest: bool = False
    columns: tuple[str, ...] = UsageDayRow._fields


def _shape(postgresql: bool, row_filter: UsageFilter, window: Window | None = None) -> _Shape:
    return _Shape(
        postgresql=postgresql,
        day_gte=row_filter.day_gte is not None,
        day_lt=row_filter.day_lt is not None,
        lists=tuple(name for name in _LISTS if getattr(row_filter, name) is not None),
        after=window is not None and window.after is not None,
        before=window is not None and window.before is not None,
        oldest=window is not None and window.oldest,
        columns=column_names(UsageDayRow, _PLACE, None if window is None else window.columns),
    )


def _position_parameters(prefix: str, position: object) -> dict[str, Any]:
    assert isinstance(position, tuple)
    return {f"{prefix}_{column.name}": value for column, value in zip(_POSITION, position, strict=True)}


def _parameters(row_filter: UsageFilter, window: Window | None = None) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: value
        for name in ("day_gte", "day_lt", "models", "categories", "origins")
        if (value := getattr(row_filter, name)) is not None
    }
    if window is not None:
        values["rows"] = window.limit
        if window.after is not None:
            values |= _position_parameters("after", window.after)
        if window.before is not None:
            values |= _position_parameters("before", window.before)
    return values


def _bound_position(prefix: str) -> Any:
    return tuple_(
        *(
            bindparam(f"{prefix}_{column.name}", type_=Date() if column.name == "day" else String())
            for column in _POSITION
        )
    )


def _conditions(account: ColumnElement[int], shape: _Shape) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [_ROW.c.account_id == account]
    if shape.day_gte:
        conditions.append(_ROW.c.day >= bindparam("day_gte", type_=Date()))
    if shape.day_lt:
        conditions.append(_ROW.c.day < bindparam("day_lt", type_=Date()))
    conditions += [is_one_of(_LISTS[name], name, postgresql=shape.postgresql) for name in shape.lists]
    position = tuple_(*_POSITION)
    if shape.after:
        conditions.append(position < _bound_position("after"))
    if shape.before:
        conditions.append(position > _bound_position("before"))
    return conditions


def _page(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    order = [column.asc() if shape.oldest else column.desc() for column in _POSITION]
    return (
        select(*(_ROW.c[name] for name in shape.columns))
        .where(*_conditions(account, shape))
        .order_by(*order)
        .limit(bindparam("rows", type_=BigInteger()))
    )


def _totals(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    sums = [exact_sum(_ROW.c[name], postgresql=shape.postgresql) for name in UsageFigures._fields]
    return select(account.label("account_id"), *chain.from_iterable(sums), func.count()).where(
        *_conditions(account, shape)
    )


@lru_cache(maxsize=512)
def _statements(shape: _Shape, totals: bool) -> tuple[Select[Any], Select[Any] | None]:
    build = _totals if totals else _page
    one = build(bindparam(THE_ACCOUNT, type_=BigInteger()), shape)
    if not shape.postgresql:
        return one, None
    return one, for_each_account(lambda account: build(account, shape))


def usage_page_statement(
    postgresql: bool, row_filter: UsageFilter, window: Window
) -> tuple[Select[Any], dict[str, Any]]:
    """Returns the statement for a page of one account, and its parameters except the account."""
    return _statements(_shape(postgresql, row_filter, window), totals=False)[0], _parameters(row_filter, window)


def usage_pages(
    postgresql: bool, account_ids: Sequence[int], row_filter: UsageFilter, window: Window
) -> Read[dict[int, list[UsageDayRow]]]:
    """Reads up to `window.limit` rows per account, newest first, or oldest first if the window is `oldest`.

    Within a day, rows are in descending order of model, category and origin, so that one index serves the whole order.
    """
    if window.unread:
        return nothing_of_each(account_ids)
    shape = _shape(postgresql, row_filter, window)
    one, each = _statements(shape, totals=False)
    row_type = row_of(UsageDayRow, shape.columns)

    def pages(found: Mapping[int, Rows]) -> dict[int, list[UsageDayRow]]:
        return {account_id: named(row_type, rows) for account_id, rows in found.items()}

    return read_each(account_ids, _parameters(row_filter, window), pages, one=one, each=each)


def usage_totals(
    postgresql: bool, account_ids: Sequence[int], row_filter: UsageFilter
) -> Read[dict[int, tuple[UsageFigures, int]]]:
    """Reads the totals of each account, and the number of usage days in them."""
    one, each = _statements(_shape(postgresql, row_filter), totals=True)

    def totals(found: Mapping[int, Rows]) -> dict[int, tuple[UsageFigures, int]]:
        return {
            account: (UsageFigures._make(exact_sums(rows[0][1:-1], postgresql=postgresql)), int(rows[0][-1]))
            for account, rows in found.items()
        }

    return read_each(account_ids, _parameters(row_filter), totals, one=one, each=each)
