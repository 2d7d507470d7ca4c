"""Charges: reads charges and holds, as pages, as counts, and by their ledger rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, func, or_, select, union_all

from db import tables
from db.archive.past import nothing_past
from db.connections.snapshots import Past, Read, Rows
from db.filters import ChargeFilter, Window
from db.keyed_rows import read_with_keys
from db.rows import ChargeRow, HoldRow, named
from db.statements import THE_ACCOUNT, columns, counts_of_each, for_each_account, read_each
from db.transactions.conditions import NEVER, first_seq_since

_CHARGE: Final = tables.charges
_CHARGE_COLUMNS: Final = tuple(columns(_CHARGE, ChargeRow))
_HOLD: Final = tables.holds
_HOLD_COLUMNS: Final = tuple(columns(_HOLD, HoldRow))


@dataclass(frozen=True, slots=True)
class _Shape:
    """Everything that determines a statement's text."""

    postgresql: bool
    states: int | None
    ref_types: int | None
    ref_id: bool
    opened_gte: bool
    opened_lt: bool
    after: bool = False
    before: bool = False
    oldest: bool = False


def _size(words: tuple[str, ...] | None) -> int | None:
    return None if words is None else len(words)


def _shape(postgresql: bool, row_filter: ChargeFilter, window: Window | None = None) -> _Shape:
    return _Shape(
        postgresql=postgresql,
        states=_size(row_filter.states),
        ref_types=_size(row_filter.ref_types),
        ref_id=row_filter.ref_id is not None,
        opened_gte=row_filter.opened_gte is not None,
        opened_lt=row_filter.opened_lt is not None,
        after=window is not None and window.after is not None,
        before=window is not None and window.before is not None,
        oldest=window is not None and window.oldest,
    )


def _parameters(row_filter: ChargeFilter, window: Window | None = None) -> dict[str, Any]:
    given: dict[str, Any] = {name: getattr(row_filter, name) for name in ("ref_id", "opened_gte", "opened_lt")}
    given |= {f"state_{number}": state for number, state in enumerate(row_filter.states or ())}
    given |= {f"ref_type_{number}": ref_type for number, ref_type in enumerate(row_filter.ref_types or ())}
    if window is not None:
        given |= {"rows": window.limit, "after": window.after, "before": window.before}
    return {name: value for name, value in given.items() if value is not None}


def _bounds(charge: Any, account: ColumnElement[int], shape: _Shape) -> list[ColumnElement[bool]]:
    """Returns the bounds of the list. A charge opens with its first row, so a bound in time is a bound of
    `first_seq`."""
    first_seq = charge.c.first_seq
    bounds: list[ColumnElement[bool]] = [charge.c.account_id == account]
    if shape.after:
        bounds.append(first_seq < bindparam("after", type_=BigInteger()))
    if shape.before:
        bounds.append(first_seq > bindparam("before", type_=BigInteger()))
    if shape.opened_gte:
        bounds.append(first_seq >= first_seq_since(account, "opened_gte"))
    if shape.opened_lt:
        bounds.append(first_seq < func.coalesce(first_seq_since(account, "opened_lt"), NEVER))
    return bounds


def _runs(account: ColumnElement[int], shape: _Shape) -> list[Select[Any]]:
    """Returns ranges of an index that together make up the list, each in the order of `first_seq`."""

    def run(*numbers: tuple[str, int]) -> Select[Any]:
        charge = _CHARGE.alias()
        narrowed = [charge.c[name] == bindparam(f"{name}_{number}") for name, number in numbers]
        return select(*(charge.c[name] for name in ChargeRow._fields)).where(
            *_bounds(charge, account, shape), *narrowed
        )

    def look_up(ref_type: int) -> Select[Any]:
        """Finds at most one charge, by the primary key."""
        charge = _CHARGE.alias()
        states = (charge.c.state == bindparam(f"state_{number}") for number in range(shape.states or 0))
        return select(*(charge.c[name] for name in ChargeRow._fields)).where(
            charge.c.ref_type == bindparam(f"ref_type_{ref_type}"),
            charge.c.ref_id == bindparam("ref_id"),
            *_bounds(charge, account, shape),
            or_(*states),
        )

    if shape.states is None or shape.ref_types is None:
        return [run()]
    if shape.ref_id:
        return [look_up(number) for number in range(shape.ref_types)]
    pairs = product(range(shape.states), range(shape.ref_types))
    return [run(("state", state), ("ref_type", ref_type)) for state, ref_type in pairs]


def _page(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    def in_order(charges: Select[Any]) -> Select[Any]:
        first_seq = charges.selected_columns.first_seq
        order = first_seq.asc() if shape.oldest else first_seq.desc()
        return charges.order_by(order).limit(bindparam("rows", type_=BigInteger()))

    runs = [in_order(run) for run in _runs(account, shape)]
    if len(runs) == 1:
        return runs[0]
    return in_order(union_all(*(run.subquery().select() for run in runs)).subquery().select())


def _count(account: ColumnElement[int], shape: _Shape) -> Select[Any]:
    counts = [
        select(func.count()).select_from(run.with_only_columns(run.selected_columns.first_seq).subquery())
        for run in _runs(account, shape)
    ]
    first, *others = [count.scalar_subquery() for count in counts]
    return select(account.label("account_id"), sum(others, start=first))


@lru_cache(maxsize=512)
def _statements(shape: _Shape, counting: bool) -> tuple[Select[Any], Select[Any] | None]:
    build = _count if counting else _page
    one = build(bindparam(THE_ACCOUNT, type_=BigInteger()), shape)
    if not shape.postgresql:
        return one, None
    return one, for_each_account(lambda account: build(account, shape))


def charge_pages(
    postgresql: bool, account_ids: Sequence[int], row_filter: ChargeFilter, window: Window
) -> Read[dict[int, list[ChargeRow]]]:
    """Reads up to `window.limit` charges per account, newest first, or oldest first if the window is `oldest`."""
    one, each = _statements(_shape(postgresql, row_filter, window), counting=False)

    def pages(found: Mapping[int, Rows]) -> dict[int, list[ChargeRow]]:
        return {account_id: named(ChargeRow, rows) for account_id, rows in found.items()}

    past = _past(account_ids, row_filter)
    return read_each(account_ids, _parameters(row_filter, window), pages, one=one, each=each, past=past)


def _past(account_ids: Sequence[int], row_filter: ChargeFilter) -> Past[Any]:
    """A charge opens with its first row, so a moment is looked up among the rows."""
    moments = [moment for moment in (row_filter.opened_gte, row_filter.opened_lt) if moment is not None]
    return nothing_past(account_ids, moments, "openedAt: the ledger rows of that time were moved to the archive")


def charge_counts(postgresql: bool, account_ids: Sequence[int], row_filter: ChargeFilter) -> Read[dict[int, int]]:
    one, each = _statements(_shape(postgresql, row_filter), counting=True)
    past = _past(account_ids, row_filter)
    return read_each(account_ids, _parameters(row_filter), counts_of_each, one=one, each=each, past=past)


def charges_by_ref(
    postgresql: bool, refs: Collection[tuple[int, str, str]]
) -> Read[dict[tuple[int, str, str], ChargeRow]]:
    """Reads charges by (account, ref type, ref id)."""
    key = (_CHARGE.c.account_id, _CHARGE.c.ref_type, _CHARGE.c.ref_id)

    def by_ref(rows: Iterable[Any]) -> dict[tuple[int, str, str], ChargeRow]:
        return {charge[:3]: charge for charge in named(ChargeRow, rows)}

    return read_with_keys(_CHARGE_COLUMNS, key, set(refs), by_ref, postgresql=postgresql)


def charges_by_first_row(postgresql: bool, ids: Collection[tuple[int, int]]) -> Read[dict[tuple[int, int], ChargeRow]]:
    """Reads charges by (account, first seq)."""
    key = (_CHARGE.c.account_id, _CHARGE.c.first_seq)

    def by_first_row(rows: Iterable[Any]) -> dict[tuple[int, int], ChargeRow]:
        return {(charge.account_id, charge.first_seq): charge for charge in named(ChargeRow, rows)}

    return read_with_keys(_CHARGE_COLUMNS, key, set(ids), by_first_row, postgresql=postgresql)


def opened_holds(postgresql: bool, ids: Collection[tuple[int, int]]) -> Read[dict[tuple[int, int], HoldRow]]:
    """Reads holds by the (account, seq) of the row that opened them."""
    key = (_HOLD.c.account_id, _HOLD.c.hold_seq)

    def by_first_row(rows: Iterable[Any]) -> dict[tuple[int, int], HoldRow]:
        return {(hold.account_id, hold.hold_seq): hold for hold in named(HoldRow, rows)}

    return read_with_keys(_HOLD_COLUMNS, key, set(ids), by_first_row, postgresql=postgresql)


def settled_holds(postgresql: bool, ids: Collection[tuple[int, int]]) -> Read[dict[tuple[int, int], HoldRow]]:
    """Reads holds by the (account, seq) of the row that settled them."""
    key = (_HOLD.c.account_id, _HOLD.c.settled_seq)

    def by_last_row(rows: Iterable[Any]) -> dict[tuple[int, int], HoldRow]:
        return {(hold.account_id, hold.settled_seq or 0): hold for hold in named(HoldRow, rows)}

    return read_with_keys(_HOLD_COLUMNS, key, set(ids), by_last_row, postgresql=postgresql)
