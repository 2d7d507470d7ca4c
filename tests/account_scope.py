"""Finds reads of account data that no account bounds.

A table is bounded when a condition that must hold ties its account to a value, to a column of an enclosing query, or
to another table that is bounded. Conditions under OR and in selected columns count for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from db import (  # noqa: F401  their tables are of the metadata
    attribution_tables,
    integrity_tables,
    limit_tables,
    stripe_tables,
    volume_tables,
)
from db.tables import metadata

_ACCOUNT_COLUMN: Final = {
    "accounts": "id",
    **{table.name: "account_id" for table in metadata.sorted_tables if "account_id" in table.c},
}
_OTHER_KEYS: Final = {
    "api_keys": {"id", "digest"},
    "idempotent_acts": {"scope"},
    "stripe_customers": {"id"},
    "top_ups": {"session_id"},
}
"""Columns that name one row by themselves, whose account is then read of it."""

_VALUES: Final = (exp.Placeholder, exp.Parameter, exp.Literal, exp.Array, exp.Any, exp.Cast, exp.Tuple, exp.Query)

Side = exp.Expr
Tables = dict[str, str]
"""The name of each table of account data by its alias."""


def _all_of(condition: exp.Expr | None) -> Iterator[exp.Expr]:
    if condition is not None:
        yield from condition.flatten() if isinstance(condition, exp.And) else [condition]


def _conditions(query: exp.Expr) -> Iterator[exp.Expr]:
    where = query.args.get("where")
    yield from _all_of(where and where.this)
    for join in query.args.get("joins") or ():
        yield from _all_of(join.args.get("on"))


def _pairs(condition: exp.Expr) -> Iterator[tuple[Side, Side]]:
    """What must be equal to what."""
    condition = condition.unnest()
    if isinstance(condition, exp.In):
        other = condition.args.get("query") or condition.args.get("unnest") or exp.Tuple()
        left = condition.this
        yield from ((one, other) for one in (left.expressions if isinstance(left, exp.Tuple) else [left]))
    elif isinstance(condition, exp.EQ):
        left, right = condition.left, condition.right
        if isinstance(left, exp.Tuple) and isinstance(right, exp.Tuple):
            yield from zip(left.expressions, right.expressions, strict=True)
        else:
            yield left, right


def _equal_sides(scope: Scope) -> Iterator[tuple[Side, Side]]:
    for condition in _conditions(scope.expression):
        for left, right in _pairs(condition):
            yield left.unnest(), right.unnest()
            yield right.unnest(), left.unnest()


def _joined_by_account(scope: Scope, tables: Tables) -> Iterator[str]:
    """Those joined USING their account to what is no table: a list of values."""
    if set(tables) == set(scope.selected_sources):
        return
    for join in scope.expression.args.get("joins") or ():
        alias = join.this.alias_or_name
        names = {column.name for column in join.args.get("using") or ()}
        if alias in tables and _ACCOUNT_COLUMN[tables[alias]] in names:
            yield alias


class _Query:
    """One SELECT, without those within it."""

    def __init__(self, scope: Scope) -> None:
        self._only = next(iter(scope.sources)) if len(scope.sources) == 1 else ""
        self._tables: Tables = {
            alias: source.name
            for alias, (_, source) in scope.selected_sources.items()
            if isinstance(source, exp.Table) and source.name in _ACCOUNT_COLUMN
        }
        self._bounded = set(_joined_by_account(scope, self._tables))
        self._links: list[tuple[str, str]] = []
        for one, other in _equal_sides(scope):
            self._tie(one, other)

    def _alias(self, side: Side) -> str:
        return (side.table or self._only) if isinstance(side, exp.Column) else ""

    def _is_account(self, side: Side) -> bool:
        alias = self._alias(side)
        return alias in self._tables and side.name == _ACCOUNT_COLUMN[self._tables[alias]]

    def _tie(self, one: Side, other: Side) -> None:
        alias = self._alias(one)
        if alias not in self._tables:
            return
        if one.name in _OTHER_KEYS.get(self._tables[alias], ()):
            self._bounded.add(alias)
        elif self._is_account(one):
            if self._is_account(other):
                self._links.append((alias, self._alias(other)))
            elif isinstance(other, _VALUES) or (isinstance(other, exp.Column) and other.table not in self._tables):
                self._bounded.add(alias)

    def unbounded(self) -> list[str]:
        for _ in self._tables:
            self._bounded |= {one for one, other in self._links if other in self._bounded}
        return [table for alias, table in self._tables.items() if alias not in self._bounded]


def unbounded_tables(statement: str, dialect: str) -> list[str]:
    """The tables that the statement reads without naming an account. Statements that write are not looked at."""
    (tree,) = sqlglot.parse(statement, dialect=dialect)
    assert tree is not None
    if tree.find(exp.DML):
        return []
    return [table for scope in traverse_scope(tree) for table in _Query(scope).unbounded()]
