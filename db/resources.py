"""Resources: reads pages and totals of the ledger rows of many resources at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from operator import add
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, func, select, true

from db import tables
from db.archive.past import past_pages, past_sums
from db.archive.reach import Reach, reach_of
from db.connections.snapshots import Past, Read, Wanted
from db.filters import TransactionFilter, Window
from db.keyed_rows import key_arrays, listed_keys
from db.rows import TransactionRow, named, row_of
from db.statements import column_names, exact_sum, exact_sums
from db.transactions.totals import TransactionTotalsRow, added_totals

_ROW: Final = tables.transactions
_PLACE: Final = ("account_id", "seq", "ref_type", "ref_id")
_KEY: Final = (_ROW.c.account_id, _ROW.c.ref_type, _ROW.c.ref_id)

Found = TypeVar("Found")
Figures = TypeVar("Figures")

Resource = tuple[int, str, str]
"""(account, ref type, ref id)"""


@dataclass(frozen=True, slots=True)
class _Shape:
    after: bool
    before: bool
    oldest: bool
    columns: tuple[str, ...]


class _Ref(NamedTuple):
    """The columns or parameters that identify a resource."""

    account: ColumnElement[int]
    type: ColumnElement[str]
    id: ColumnElement[str]

    def labels(self) -> list[Any]:
        return [self.account.label("account_id"), self.type.label("ref_type"), self.id.label("ref_id")]

    def of(self) -> list[ColumnElement[bool]]:
        return [_ROW.c.account_id == self.account, _ROW.c.ref_type == self.type, _ROW.c.ref_id == self.id]


_GIVEN: Final = _Ref(*(bindparam(column.name, type_=column.type) for column in _KEY))


def _page(ref: _Ref, shape: _Shape) -> Select[Any]:
    wanted = select(*(_ROW.c[name] for name in shape.columns)).where(*ref.of())
    if shape.after:
        wanted = wanted.where(_ROW.c.seq < bindparam("after", type_=BigInteger()))
    if shape.before:
        wanted = wanted.where(_ROW.c.seq > bindparam("before", type_=BigInteger()))
    order = _ROW.c.seq.asc() if shape.oldest else _ROW.c.seq.desc()
    return wanted.order_by(order).limit(bindparam("rows", type_=BigInteger()))


def _totals(ref: _Ref, *, postgresql: bool) -> Select[Any]:
    amount = _ROW.c.amount_nanos
    sums = [exact_sum(amount, postgresql=postgresql, only=only) for only in (amount > 0, amount < 0)]
    return select(*ref.labels(), func.count(), *chain.from_iterable(sums)).where(*ref.of())


_TOTALS: Final = {postgresql: partial(_totals, postgresql=postgresql) for postgresql in (True, False)}


def _count(ref: _Ref) -> Select[Any]:
    return select(*ref.labels(), func.count()).where(*ref.of())


def _of_each(one: Callable[[_Ref], Select[Any]]) -> Select[Any]:
    """Returns the statement that runs `one` for each listed resource. PostgreSQL only."""
    listed = listed_keys(_KEY)
    lateral = one(_Ref(*listed.c)).lateral("one")
    return select(*lateral.c).select_from(listed.join(lateral, true()))


Build = Callable[[_Ref], Select[Any]]


@lru_cache(maxsize=512)
def _page_of(shape: _Shape) -> Build:
    return lambda ref: _page(ref, shape)


@lru_cache(maxsize=512)
def _statement(build: Build, *, of_each: bool) -> Select[Any]:
    return _of_each(build) if of_each else build(_GIVEN)


def _read(
    postgresql: bool,
    resources: Sequence[Resource],
    build: Build,
    parameters: dict[str, Any],
    made: Callable[[Iterable[Any]], Found],
    past: Past[Found],
) -> Read[Found]:
    """Returns a read of all resources. `made` computes its result from the rows, `past` adds archived ones."""
    if postgresql:
        wanted = [Wanted(_statement(build, of_each=True), parameters | key_arrays(_KEY, resources))]
    else:
        # SQLite has no LATERAL, but its statements cross no network.
        statement = _statement(build, of_each=False)
        each = (dict(zip(("account_id", "ref_type", "ref_id"), resource, strict=True)) for resource in resources)
        wanted = [Wanted(statement, parameters | given) for given in each]
    return Read(wanted, lambda found: made(chain.from_iterable(found)), past)


def resource_pages(
    postgresql: bool, resources: Sequence[Resource], window: Window
) -> Read[dict[Resource, list[TransactionRow]]]:
    """Reads up to `window.limit` rows per resource, newest first, or oldest first if the window is `oldest`."""
    columns = column_names(TransactionRow, _PLACE, window.columns)
    shape = _Shape(window.after is not None, window.before is not None, window.oldest, columns)
    given = {"rows": window.limit, "after": window.after, "before": window.before}
    given = {name: one for name, one in given.items() if one is not None}

    def pages(rows: Iterable[Any]) -> dict[Resource, list[TransactionRow]]:
        of_each: dict[Resource, list[TransactionRow]] = {resource: [] for resource in resources}
        for row in named(row_of(TransactionRow, columns), rows):
            of_each[row.account_id, str(row.ref_type), str(row.ref_id)].append(row)
        return of_each

    past = past_pages(
        {resource: resource[0] for resource in resources},
        reach_of(TransactionFilter(), window),
        lambda resource: resource_pages(False, [resource], window),
        limit=window.limit,
        oldest=window.oldest,
    )
    return _read(postgresql, resources, _page_of(shape), given, pages, past)


def _past_sums(
    resources: Sequence[Resource],
    read: Callable[[bool, Sequence[Resource]], Read[dict[Resource, Figures]]],
    add: Callable[[Figures, Figures], Figures],
) -> Past[dict[Resource, Figures]]:
    def of_account(account_id: int) -> Read[dict[Resource, Figures]]:
        return read(False, [resource for resource in resources if resource[0] == account_id])

    return past_sums({resource[0] for resource in resources}, Reach(), of_account, add)


def resource_totals(postgresql: bool, resources: Sequence[Resource]) -> Read[dict[Resource, TransactionTotalsRow]]:
    def totals(rows: Iterable[Any]) -> dict[Resource, TransactionTotalsRow]:
        return {
            tuple(row[:3]): TransactionTotalsRow(row[0], row[3], *exact_sums(row[4:], postgresql=postgresql))
            for row in rows
        }

    past = _past_sums(resources, resource_totals, added_totals)
    return _read(postgresql, resources, _TOTALS[postgresql], {}, totals, past)


def resource_counts(postgresql: bool, resources: Sequence[Resource]) -> Read[dict[Resource, int]]:
    def counts(rows: Iterable[Any]) -> dict[Resource, int]:
        return {tuple(row[:3]): int(row[3]) for row in rows}

    return _read(postgresql, resources, _count, {}, counts, _past_sums(resources, resource_counts, add))
