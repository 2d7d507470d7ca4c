"""What the reading statements have in common.

A statement's text depends on its shape alone (which filters are there, how many kinds), never on their values,
so each is built once, and prepared once by the driver.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Select, Table, any_, bindparam, func, select, true

from db.database import Snapshot

# The parameter that holds the account of a statement about one account.
THE_ACCOUNT = "account_id"


def columns(table: Table, row_type: type[NamedTuple]) -> list[Any]:
    """The columns of a row type, in its order."""
    return [table.c[name] for name in row_type._fields]


def is_one_of(column: ColumnElement[int], parameter: str, *, postgresql: bool) -> ColumnElement[bool]:
    """One text for any number of values, where the database can."""
    if postgresql:
        return column == any_(bindparam(parameter, type_=ARRAY(BigInteger())))
    return column.in_(bindparam(parameter, expanding=True))


def contains_text(text: ColumnElement[Any], parameter: str, *, postgresql: bool) -> ColumnElement[bool]:
    """A case-insensitive substring. PostgreSQL folds case by the database's locale, SQLite by Unicode."""
    if postgresql:
        return func.strpos(func.lower(text), func.lower(bindparam(parameter))) > 0
    return func.contains_text(text, bindparam(parameter)) == 1


def listed_accounts() -> Any:
    """The accounts of the parameter `account_ids` as rows (PostgreSQL)."""
    listed = func.unnest(bindparam("account_ids", type_=ARRAY(BigInteger())))
    return listed.table_valued("id", name="listed").render_derived()


def for_each_account(listed: Any, one: Select[Any]) -> Select[Any]:
    """`one`, which names `listed.c.id`, for each of the accounts, in one statement (PostgreSQL)."""
    lateral = one.lateral("one")
    return select(*lateral.c).select_from(listed.join(lateral, true()))


async def read_each(
    snapshot: Snapshot,
    account_ids: Sequence[int],
    parameters: dict[str, Any],
    *,
    one: Select[Any],
    each: Select[Any] | None,
) -> dict[int, list[Any]]:
    """The rows of each account in their order; a row's first column is its account.

    `one` reads those of the parameter `account_id`; `each` those of all `account_ids` at once. Where the database
    has no such statement (SQLite has no LATERAL, but no network to cross either), `one` is run for each.
    """
    found: dict[int, list[Any]] = {account_id: [] for account_id in account_ids}
    if each is not None and len(account_ids) > 1:
        for row in await snapshot.rows(each, {**parameters, "account_ids": list(account_ids)}):
            found[row[0]].append(row)
    else:
        for account_id in account_ids:
            found[account_id] = list(await snapshot.rows(one, {**parameters, THE_ACCOUNT: account_id}))
    return found
