"""Requests in full: reads pages and counts, single requests by their digest, and their prices."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, LargeBinary, Select, bindparam, func, select, tuple_

from db import tables
from db.attribution_rows import RequestDetailRow, UsagePriceRow
from db.attribution_tables import request_details, usage_prices
from db.connections.snapshots import Read, Rows
from db.filters import UsageRequestFilter, Window
from db.keyed_rows import read_with_keys
from db.rows import named
from db.statements import THE_ACCOUNT, columns, counts_of_each, for_each_account, is_one_of, nothing_of_each, read_each

_ROW: Final = request_details
_COLUMNS: Final = tuple(columns(_ROW, RequestDetailRow))
_LISTS: Final = {
    "models": _ROW.c.model,
    "categories": _ROW.c.category,
    "origins": _ROW.c.origin,
    "api_keys": _ROW.c.api_key,
    "projects": _ROW.c.project,
    "end_users": _ROW.c.end_user,
}
_TIMES: Final = ("at_gte", "at_lt")


@dataclass(frozen=True, slots=True)
class _Shape:
    postgresql: bool
    given: tuple[str, ...]
    """Names of the filter's fields that are set."""
    after: bool = False
    before: bool = False
    oldest: bool = False


def _given(row_filter: UsageRequestFilter) -> dict[str, Any]:
    values = {name: getattr(row_filter, name) for name in (*_TIMES, *_LISTS)}
    return {name: value for name, value in values.items() if value is not None}


def _shape(postgresql: bool, row_filter: UsageRequestFilter, window: Window | None = None) -> _Shape:
    given = tuple(_given(row_filter))
    if window is None:
        return _Shape(postgresql, given)
    return _Shape(postgresql, given, window.after is not None, window.before is not None, window.oldest)


def _parameters(row_filter: UsageRequestFilter, window: Window | None = None) -> dict[str, Any]:
    values = _given(row_filter)
    if window is not None:
        values["rows"] = window.limit
        for name, position in (("after", window.after), ("before", window.before)):
            if position is not None:
                assert isinstance(position, tuple)
                values[f"{name}_at"], values[f"{name}_digest"] = position
    return values


def _bound_position(prefix: str) -> Any:
    at = bindparam(f"{prefix}_at", type_=tables.timestamp())
    return tuple_(at, bindparam(f"{prefix}_digest", type_=LargeBinary()))


def _conditions(account: ColumnElement[int], shape: _Shape) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [_ROW.c.account_id == account]
    if "at_gte" in shape.given:
        conditions.append(_ROW.c.at >= bindparam("at_gte", type_=tables.timestamp()))
    if "at_lt" in shape.given:
        conditions.append(_ROW.c.at < bindparam("at_lt", type_=tables.timestamp()))
    conditions += [
        is_one_of(column, name, postgresql=shape.postgresql) for name, column in _LISTS.items() if name in shape.given
    ]
    position = tuple_(_ROW.c.at, _ROW.c.digest)
    if shape.after:
        conditions.append(position < _bound_position("after"))
    if shape.before:
        conditions.append(position > _bound_position("before"))
    return conditions


def _page(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    order = [column.asc() if shape.oldest else column.desc() for column in (_ROW.c.at, _ROW.c.digest)]
    rows = bindparam("rows", type_=BigInteger())
    return select(*_COLUMNS).where(*_conditions(account, shape)).order_by(*order).limit(rows)


def _count(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    listed: list[Any] = [account.label("account_id"), func.count()]
    return select(*listed).select_from(_ROW).where(*_conditions(account, shape))


@lru_cache(maxsize=512)
def _statements(shape: _Shape, counting: bool) -> tuple[Select[Any], Select[Any] | None]:
    build = _count if counting else _page
    one = build(bindparam(THE_ACCOUNT, type_=BigInteger()), shape)
    if not shape.postgresql:
        return one, None
    return one, for_each_account(lambda account: build(account, shape))


def request_pages(
    postgresql: bool, account_ids: Sequence[int], row_filter: UsageRequestFilter, window: Window
) -> Read[dict[int, list[RequestDetailRow]]]:
    """Reads up to `window.limit` requests per account, newest first, or oldest first if the window is `oldest`."""
    if window.unread:
        return nothing_of_each(account_ids)
    one, each = _statements(_shape(postgresql, row_filter, window), counting=False)

    def pages(found: Mapping[int, Rows]) -> dict[int, list[RequestDetailRow]]:
        return {account_id: named(RequestDetailRow, rows) for account_id, rows in found.items()}

    return read_each(account_ids, _parameters(row_filter, window), pages, one=one, each=each)


def request_counts(
    postgresql: bool, account_ids: Sequence[int], row_filter: UsageRequestFilter
) -> Read[dict[int, int]]:
    one, each = _statements(_shape(postgresql, row_filter), counting=True)
    return read_each(account_ids, _parameters(row_filter), counts_of_each, one=one, each=each)


DigestKey = tuple[int, bytes]


def requests_by_digest(postgresql: bool, keys: Collection[DigestKey]) -> Read[dict[DigestKey, RequestDetailRow]]:
    """Reads requests by (account, digest)."""

    def by_digest(rows: Iterable[Any]) -> dict[DigestKey, RequestDetailRow]:
        return {(row.account_id, bytes(row.digest)): row for row in named(RequestDetailRow, rows)}

    return read_with_keys(_COLUMNS, (_ROW.c.account_id, _ROW.c.digest), set(keys), by_digest, postgresql=postgresql)


_PRICE_COLUMNS: Final = tuple(columns(usage_prices, UsagePriceRow))


def prices_by_id(postgresql: bool, ids: Collection[tuple[int, int]]) -> Read[dict[tuple[int, int], UsagePriceRow]]:
    """Reads prices by (account, id)."""

    def by_id(rows: Iterable[Any]) -> dict[tuple[int, int], UsagePriceRow]:
        return {(row.account_id, row.id): row for row in named(UsagePriceRow, rows)}

    return read_with_keys(_PRICE_COLUMNS, tuple(usage_prices.primary_key), set(ids), by_id, postgresql=postgresql)
