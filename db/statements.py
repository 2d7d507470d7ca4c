"""What the reading statements have in common.

A statement's text depends on its shape alone (which filters are there, how many kinds), never on their values,
so each is built once, and prepared once by the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Select,
    String,
    Table,
    any_,
    bindparam,
    collate,
    func,
    literal_column,
    select,
    true,
)

from db.connections.snapshots import Read, Rows, Wanted

Found = TypeVar("Found")

# The parameter that holds the account of a statement about one account.
THE_ACCOUNT = "account_id"


def columns(table: Table, row_type: type[NamedTuple]) -> list[Any]:
    """The columns of a row type, in its order."""
    return [table.c[name] for name in row_type._fields]


@lru_cache(maxsize=1_024)
def column_names(
    row_type: type[NamedTuple], position: tuple[str, ...], wanted: frozenset[str] | None
) -> tuple[str, ...]:
    """The columns to read, in the row type's order: those of the position always."""
    return tuple(name for name in row_type._fields if wanted is None or name in wanted or name in position)


def is_one_of(column: ColumnElement[Any], parameter: str, *, postgresql: bool) -> ColumnElement[bool]:
    """One text for any number of values, where the database can."""
    if postgresql:
        return column == any_(bindparam(parameter, type_=ARRAY(column.type)))
    return column.in_(bindparam(parameter, expanding=True))


def exact_sum(
    figure: ColumnElement[Any], *, postgresql: bool, only: ColumnElement[bool] | None = None
) -> tuple[ColumnElement[Any], ...]:
    """Columns that `exact_sums` makes a sum of. It may leave 64 bits: SQLite, which would fail, adds up halves."""
    halves = (figure,) if postgresql else (figure.op(">>")(32), figure.op("&")(literal_column("4294967295")))
    sums = [func.sum(half) for half in halves]
    return tuple(func.coalesce(one if only is None else one.filter(only), 0) for one in sums)


def exact_sums(values: Sequence[Any], *, postgresql: bool) -> list[int]:
    """The sums whose columns have these values, in their order."""
    if postgresql:
        return [int(value) for value in values]
    return [(high << 32) + low for high, low in zip(values[::2], values[1::2], strict=True)]


def contains_text(
    text: ColumnElement[Any], folded: ColumnElement[Any], parameter: str, *, postgresql: bool
) -> ColumnElement[bool]:
    """Whether the parameter, which `db.folding.fold` has folded, is part of the folded text.

    `folded` is the column that `db.folding.folded_column` filled, and null where only letters of ASCII are to fold.
    """
    part = bindparam(parameter, type_=String())
    if postgresql:
        # By this collation lower() leaves letters beyond ASCII alone, as SQLite's does, whatever the database's locale.
        return func.strpos(func.coalesce(folded, func.lower(collate(text, "C"))), part) > 0
    return func.instr(func.coalesce(folded, func.lower(text)), part) > 0


def for_each_account(one: Callable[[ColumnElement[int]], Select[Any]]) -> Select[Any]:
    """The statement that `one` makes of an account, for each of the parameter `account_ids` at once (PostgreSQL)."""
    accounts = func.unnest(bindparam("account_ids", type_=ARRAY(BigInteger())))
    listed = accounts.table_valued("id").render_derived(name="listed")
    # By its name alone: as a column it would bring its table along into every common table expression.
    lateral = one(literal_column("listed.id", BigInteger())).lateral("one")
    return select(*lateral.c).select_from(listed.join(lateral, true()))


def read_each(
    account_ids: Sequence[int],
    parameters: dict[str, Any],
    made: Callable[[Mapping[int, Rows]], Found],
    *,
    one: Select[Any],
    each: Select[Any] | None,
) -> Read[Found]:
    """What is made of the rows of each account in their order; a row's first column is its account.

    `one` reads those of the parameter `account_id`; `each` those of all `account_ids` at once. Where the database
    has no such statement (SQLite has no LATERAL, but no network to cross either), `one` is run for each.
    """
    if each is None or len(account_ids) == 1:
        wanted = [Wanted(one, {**parameters, THE_ACCOUNT: account_id}) for account_id in account_ids]
        return Read(wanted, lambda found: made(dict(zip(account_ids, found, strict=True))))

    def sorted_out(found: Sequence[Rows]) -> Found:
        of_each: dict[int, list[Any]] = {account_id: [] for account_id in account_ids}
        for row in found[0]:
            of_each[row[0]].append(row)
        return made(of_each)

    return Read((Wanted(each, {**parameters, "account_ids": list(account_ids)}),), sorted_out)


def nothing_of_each(account_ids: Sequence[int]) -> Read[dict[int, list[Any]]]:
    """Without asking the database."""
    return Read((), lambda _: {account_id: [] for account_id in account_ids})


def counts_of_each(found: Mapping[int, Rows]) -> dict[int, int]:
    """Of what a row with the account and the count was read for."""
    return {account_id: int(rows[0][1]) for account_id, rows in found.items()}
