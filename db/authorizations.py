"""Authorizations: reads pages of an account's list, and single ones by number. Posting reads them by `db.limits`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, String, bindparam, func, literal_column, select

from db.connections.snapshots import Read, Rows
from db.filters import AuthorizationFilter, Window
from db.keyed_rows import read_with_keys
from db.limit_rows import AuthorizationRow
from db.limit_tables import authorizations
from db.rows import named
from db.statements import THE_ACCOUNT, columns, counts_of_each, for_each_account, read_each
from db.tables import timestamp

_ROW: Final = authorizations
_COLUMNS: Final = tuple(columns(_ROW, AuthorizationRow))

AuthorizationKey = tuple[int, int]
"""Account and number."""


@dataclass(frozen=True, slots=True)
class _Shape:
    postgresql: bool
    state: str | None
    given: tuple[str, ...]
    """Names of the other fields of the filter that are set."""
    after: bool


def _conditions(account: ColumnElement[int], shape: _Shape) -> list[ColumnElement[bool]]:
    now = bindparam("now", type_=timestamp())
    stored = "open" if shape.state == "expired" else shape.state
    conditions: list[ColumnElement[bool]] = [_ROW.c.account_id == account]
    if stored is not None:
        conditions.append(_ROW.c.state == literal_column(f"'{stored}'", String()))
    if shape.state == "open":
        conditions.append(_ROW.c.expires_at > now)
    if shape.state == "expired":
        conditions.append(_ROW.c.expires_at <= now)
    conditions += [_ROW.c[name] == bindparam(name, type_=String()) for name in shape.given]
    if shape.after:
        conditions.append(_ROW.c.number < bindparam("after", type_=BigInteger()))
    return conditions


def _page(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    rows = bindparam("rows", type_=BigInteger())
    return select(*_COLUMNS).where(*_conditions(account, shape)).order_by(_ROW.c.number.desc()).limit(rows)


def _count(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    listed: list[Any] = [account.label("account_id"), func.count()]
    return select(*listed).select_from(_ROW).where(*_conditions(account, shape))


@lru_cache(maxsize=128)
def _statements(shape: _Shape, counting: bool) -> tuple[Select[Any], Select[Any] | None]:
    build = _count if counting else _page
    one = build(bindparam(THE_ACCOUNT, type_=BigInteger()), shape)
    return one, for_each_account(lambda account: build(account, shape)) if shape.postgresql else None


def _given(row_filter: AuthorizationFilter) -> dict[str, Any]:
    return {name: value for name in ("api_key", "project") if (value := getattr(row_filter, name)) is not None}


def _parameters(row_filter: AuthorizationFilter, now: datetime) -> dict[str, Any]:
    return _given(row_filter) | ({"now": now} if row_filter.state in {"open", "expired"} else {})


def authorization_pages(
    postgresql: bool, account_ids: Sequence[int], asked: tuple[AuthorizationFilter, Window, datetime]
) -> Read[dict[int, list[AuthorizationRow]]]:
    """Reads up to `window.limit` authorizations per account, newest first, in their state at the given time."""
    row_filter, window, now = asked
    shape = _Shape(postgresql, row_filter.state, tuple(_given(row_filter)), window.after is not None)
    one, each = _statements(shape, counting=False)
    parameters = _parameters(row_filter, now) | {"rows": window.limit}
    if window.after is not None:
        parameters["after"] = window.after

    def pages(found: Mapping[int, Rows]) -> dict[int, list[AuthorizationRow]]:
        return {account_id: named(AuthorizationRow, rows) for account_id, rows in found.items()}

    return read_each(account_ids, parameters, pages, one=one, each=each)


def authorization_counts(
    postgresql: bool, account_ids: Sequence[int], asked: tuple[AuthorizationFilter, datetime]
) -> Read[dict[int, int]]:
    row_filter, now = asked
    shape = _Shape(postgresql, row_filter.state, tuple(_given(row_filter)), after=False)
    one, each = _statements(shape, counting=True)
    return read_each(account_ids, _parameters(row_filter, now), counts_of_each, one=one, each=each)


def authorizations_by_number(
    postgresql: bool, keys: Collection[AuthorizationKey]
) -> Read[dict[AuthorizationKey, AuthorizationRow]]:
    def by_number(rows: Iterable[Any]) -> dict[AuthorizationKey, AuthorizationRow]:
        return {row[:2]: row for row in named(AuthorizationRow, rows)}

    return read_with_keys(_COLUMNS, tuple(_ROW.primary_key), set(keys), by_number, postgresql=postgresql)
