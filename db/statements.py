"""Statements: the shared parts of statements that read.

A statement's text depends only on its shape (which filters are set, how many kinds), never on their values. So each
text is built once, and prepared once by the driver.
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

from db.connections.snapshots import Past, Read, Rows, Wanted
from db.tables import accounts

Found = TypeVar("Found")

# The parameter for the account of a statement about one account.
THE_ACCOUNT = "account_id"


def columns(table: Table, row_type: type[NamedTuple]) -> list[Any]:
    """Returns the columns of a row type, in its order."""
    return [table.c[name] for name in row_type._fields]


@lru_cache(maxsize=1_024)
def column_names(
    row_type: type[NamedTuple], position: tuple[str, ...], wanted: frozenset[str] | None
) -> tuple[str, ...]:
    """Returns the names of the columns to read, in the row type's order. Those of the position are always included."""
    return tuple(name for name in row_type._fields if wanted is None or name in wanted or name in position)


def is_one_of(column: ColumnElement[Any], parameter: str, *, postgresql: bool) -> ColumnElement[bool]:
    """Compares a column with a list of values. The text is the same for any number of values, if the database allows
    it."""
    if postgresql:
        return column == any_(bindparam(parameter, type_=ARRAY(column.type)))
    return column.in_(bindparam(parameter, expanding=True))


def is_here(account_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the account is on this shard: it was not moved to another one, nor is it being moved here. As a value, it
    is looked up for each row: a join could read all accounts."""
    account = accounts.alias()
    return select(account.c.shard).where(account.c.id == account_id).scalar_subquery().is_(None)


def exact_sum(
    figure: ColumnElement[Any], *, postgresql: bool, only: ColumnElement[bool] | None = None
) -> tuple[ColumnElement[Any], ...]:
    """Returns columns from which `exact_sums` computes a sum, even beyond 64 bits. SQLite would fail, so it adds up
    halves."""
    halves = (figure,) if postgresql else (figure.op(">>")(32), figure.op("&")(literal_column("4294967295")))
    sums = [func.sum(half) for half in halves]
    return tuple(func.coalesce(one if only is None else one.filter(only), 0) for one in sums)


def exact_sums(values: Sequence[Any], *, postgresql: bool) -> list[int]:
    """Returns the sums from the values of their columns, in order."""
    if postgresql:
        return [int(value) for value in values]
    return [(high << 32) + low for high, low in zip(values[::2], values[1::2], strict=True)]


def contains_text(
    text: ColumnElement[Any], folded: ColumnElement[Any], parameter: str, *, postgresql: bool
) -> ColumnElement[bool]:
    """Whether the folded text contains the parameter. `db.folding.fold` must have folded the parameter.

    `folded` is the column filled by `db.folding.folded_column`; null if only ASCII letters need folding.
    """
    part = bindparam(parameter, type_=String())
    if postgresql:
        # With this collation lower() changes only ASCII letters, as in SQLite, whatever the database's locale.
        return func.strpos(func.coalesce(folded, func.lower(collate(text, "C"))), part) > 0
    return func.instr(func.coalesce(folded, func.lower(text)), part) > 0


def for_each_account(one: Callable[[ColumnElement[int]], Select[Any]]) -> Select[Any]:
    """Returns a statement that runs `one` for each account in the parameter `account_ids`. PostgreSQL only."""
    accounts = func.unnest(bindparam("account_ids", type_=ARRAY(BigInteger())))
    listed = accounts.table_valued("id").render_derived(name="listed")
    # Only the name: a column would add its table to every common table expression.
    lateral = one(literal_column("listed.id", BigInteger())).lateral("one")
    return select(*lateral.c).select_from(listed.join(lateral, true()))


def read_each(
    account_ids: Sequence[int],
    parameters: dict[str, Any],
    made: Callable[[Mapping[int, Rows]], Found],
    *,
    one: Select[Any],
    each: Select[Any] | None,
    past: Past[Found] | None = None,
) -> Read[Found]:
    """Returns a read of the rows of each account, in order. A row's first column is its account.

    `one` reads the account in the parameter `account_id`, `each` all accounts in `account_ids`. If `each` is None,
    `one` runs for each account: SQLite has no LATERAL, but its statements cross no network. `past` adds archived rows.
    """
    if each is None or len(account_ids) == 1:
        wanted = [Wanted(one, {**parameters, THE_ACCOUNT: account_id}) for account_id in account_ids]
        return Read(wanted, lambda found: made(dict(zip(account_ids, found, strict=True))), past)

    def sorted_out(found: Sequence[Rows]) -> Found:
        of_each: dict[int, list[Any]] = {account_id: [] for account_id in account_ids}
        for row in found[0]:
            of_each[row[0]].append(row)
        return made(of_each)

    return Read((Wanted(each, {**parameters, "account_ids": list(account_ids)}),), sorted_out, past)


def nothing_of_each(account_ids: Sequence[int]) -> Read[dict[int, list[Any]]]:
    """Returns an empty result per account without querying the database."""
    return Read((), lambda _: {account_id: [] for account_id in account_ids})


def counts_of_each(found: Mapping[int, Rows]) -> dict[int, int]:
    """Returns the counts by account, from rows of account and count."""
    return {account_id: int(rows[0][1]) for account_id, rows in found.items()}
