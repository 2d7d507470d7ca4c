"""Usage hours with their prices: pages in the order of their key, for exports."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, String, and_, bindparam, select, tuple_

from db.attribution_rows import USAGE_HOUR_KEY, PricedHourRow, UsageHourRow, UsagePriceRow
from db.attribution_tables import usage_hours, usage_prices
from db.connections.snapshots import Snapshot
from db.filters import UsageHourFilter, Window
from db.statements import THE_ACCOUNT, columns, is_one_of

HourPosition = tuple[int, int, str, str, str, str, str, int]
"""Hour, span, model, category, origin, API key, project and price."""

_ROW: Final = usage_hours
_PRICE: Final = usage_prices
_POSITION: Final = tuple(_ROW.c[name] for name in USAGE_HOUR_KEY[1:])
_WIDTH: Final = len(UsageHourRow._fields)
PRICE_FIELDS: Final = UsagePriceRow._fields[2:]
"""Columns of a price without its key."""

_LISTS: Final = {
    "models": _ROW.c.model,
    "categories": _ROW.c.category,
    "origins": _ROW.c.origin,
    "api_keys": _ROW.c.api_key,
    "projects": _ROW.c.project,
}
_HOURS: Final = ("hour_gte", "hour_lt")


@dataclass(frozen=True, slots=True)
class _Shape:
    postgresql: bool
    given: tuple[str, ...]
    """Names of the filter's fields that are set."""
    after: bool
    before: bool
    oldest: bool


def _given(row_filter: UsageHourFilter) -> dict[str, Any]:
    values = {name: getattr(row_filter, name) for name in (*_HOURS, *_LISTS)}
    return {name: value for name, value in values.items() if value is not None}


def _parameters(row_filter: UsageHourFilter, window: Window) -> dict[str, Any]:
    values = _given(row_filter) | {"rows": window.limit}
    for prefix, position in (("after", window.after), ("before", window.before)):
        if position is not None:
            assert isinstance(position, tuple)
            values |= {f"{prefix}_{column.name}": one for column, one in zip(_POSITION, position, strict=True)}
    return values


def _bound_position(prefix: str) -> Any:
    numbers = {"hour", "span_hours", "price_id"}
    types = (BigInteger() if column.name in numbers else String() for column in _POSITION)
    pairs = zip(_POSITION, types, strict=True)
    return tuple_(*(bindparam(f"{prefix}_{column.name}", type_=type_) for column, type_ in pairs))


def _conditions(shape: _Shape) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [_ROW.c.account_id == bindparam(THE_ACCOUNT, type_=BigInteger())]
    if "hour_gte" in shape.given:
        conditions.append(_ROW.c.hour >= bindparam("hour_gte", type_=BigInteger()))
    if "hour_lt" in shape.given:
        conditions.append(_ROW.c.hour < bindparam("hour_lt", type_=BigInteger()))
    conditions += [
        is_one_of(column, name, postgresql=shape.postgresql) for name, column in _LISTS.items() if name in shape.given
    ]
    position = tuple_(*_POSITION)
    if shape.after:
        conditions.append(position < _bound_position("after"))
    if shape.before:
        conditions.append(position > _bound_position("before"))
    return conditions


@lru_cache(maxsize=256)
def _page(shape: _Shape) -> Select[Any]:
    order = [column.asc() if shape.oldest else column.desc() for column in _POSITION]
    page = (
        select(*columns(_ROW, UsageHourRow))
        .where(*_conditions(shape))
        .order_by(*order)
        .limit(bindparam("rows", type_=BigInteger()))
        .subquery("page")
    )
    # The page is read before its prices are looked up, so that the join reads no more than the page.
    its_price = and_(_PRICE.c.account_id == page.c.account_id, _PRICE.c.id == page.c.price_id)
    in_order = [page.c[column.name].asc() if shape.oldest else page.c[column.name].desc() for column in _POSITION]
    return (
        select(*page.c, *(_PRICE.c[name] for name in PRICE_FIELDS))
        .select_from(page.outerjoin(_PRICE, its_price))
        .order_by(*in_order)
    )


def hour_page_statement(
    postgresql: bool, row_filter: UsageHourFilter, window: Window
) -> tuple[Select[Any], dict[str, Any]]:
    """Returns the statement for a page of one account, and its parameters except the account."""
    given = tuple(_given(row_filter))
    shape = _Shape(postgresql, given, window.after is not None, window.before is not None, window.oldest)
    return _page(shape), _parameters(row_filter, window)


def _priced(row: Any) -> PricedHourRow:
    usage, price = UsageHourRow._make(row[:_WIDTH]), row[_WIDTH:]
    # The source of a price is never null.
    return PricedHourRow(usage, UsagePriceRow._make((usage.account_id, usage.price_id, *price)) if price[-1] else None)


async def usage_hours_page(
    snapshot: Snapshot, account_id: int, row_filter: UsageHourFilter, window: Window
) -> list[PricedHourRow]:
    """Reads up to `window.limit` rows, newest first, or oldest first if the window is `oldest`."""
    statement, parameters = hour_page_statement(snapshot.is_postgresql, row_filter, window)
    return [_priced(row) for row in await snapshot.rows(statement, parameters | {THE_ACCOUNT: account_id})]
