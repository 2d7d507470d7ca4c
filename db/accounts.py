"""Accounts: reads accounts and their monthly figures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, Select, bindparam, exists, func, or_, select

from db import tables
from db.connections.snapshots import Read, Snapshot, Wanted
from db.database import Database, WriteConnection
from db.folding import fold
from db.moved_accounts import ARRIVING
from db.rows import AccountRow, MonthlyFiguresRow
from db.shard_tables import account_moves, moved_accounts
from db.statements import columns, contains_text, is_one_of

_ACCOUNT = tables.accounts
_FIGURES = tables.monthly_figures


@lru_cache(maxsize=2)
def _accounts_statement(postgresql: bool) -> Select[Any]:
    chosen = is_one_of(_ACCOUNT.c.id, "account_ids", postgresql=postgresql)
    return select(*columns(_ACCOUNT, AccountRow)).where(chosen)


def accounts_by_id(postgresql: bool, account_ids: Sequence[int]) -> Read[dict[int, AccountRow]]:
    wanted = Wanted(_accounts_statement(postgresql), {"account_ids": list(account_ids)})
    return Read((wanted,), lambda found: {row[0]: AccountRow._make(row) for row in found[0]})


@lru_cache(maxsize=2)
def _months_statement(postgresql: bool) -> Select[Any]:
    return select(*columns(_FIGURES, MonthlyFiguresRow)).where(
        is_one_of(_FIGURES.c.account_id, "account_ids", postgresql=postgresql),
        _FIGURES.c.month >= bindparam("first"),
        _FIGURES.c.month <= bindparam("last"),
    )


def monthly_figures(
    postgresql: bool, account_ids: Sequence[int], first: str, last: str
) -> Read[dict[tuple[int, str], MonthlyFiguresRow]]:
    """Reads figures by (account, month), from the first month to the last. A month without data has no entry."""
    given = {"account_ids": list(account_ids), "first": first, "last": last}
    wanted = Wanted(_months_statement(postgresql), given)
    return Read((wanted,), lambda found: {(row[0], row[1]): MonthlyFiguresRow._make(row) for row in found[0]})


def _search_condition(postgresql: bool) -> Any:
    return or_(
        contains_text(_ACCOUNT.c.name, _ACCOUNT.c.name_folded, "search", postgresql=postgresql),
        contains_text(_ACCOUNT.c.external_id, _ACCOUNT.c.external_id_folded, "search", postgresql=postgresql),
        _ACCOUNT.c.id == bindparam("search_id", type_=BigInteger()),
    )


@lru_cache(maxsize=16)
def _account_page_statement(postgresql: bool, after: bool, down_to: bool, search: bool) -> Select[Any]:
    statement = select(*columns(_ACCOUNT, AccountRow)).where(_ACCOUNT.c.shard.is_(None)).order_by(_ACCOUNT.c.id.desc())
    if after:
        statement = statement.where(_ACCOUNT.c.id < bindparam("after", type_=BigInteger()))
    if down_to:
        statement = statement.where(_ACCOUNT.c.id > bindparam("down_to", type_=BigInteger()))
    if search:
        statement = statement.where(_search_condition(postgresql))
    return statement.limit(bindparam("rows", type_=BigInteger()))


def _search_parameters(search: str | None, search_id: int | None) -> dict[str, Any]:
    return {} if search is None else {"search": fold(search), "search_id": search_id}


async def account_page(
    snapshot: Snapshot,
    *,
    limit: int,
    after: int | None,
    search: str | None,
    search_id: int | None,
    down_to: int | None = None,
) -> list[AccountRow]:
    """Returns a page, newest first. `after` and `down_to` are numbers, between which the page is. `search` is a part of
    a name or external id; `search_id` is the number of an account."""
    parameters: dict[str, Any] = {"rows": limit} | _search_parameters(search, search_id)
    parameters |= {name: end for name, end in (("after", after), ("down_to", down_to)) if end is not None}
    statement = _account_page_statement(
        snapshot.is_postgresql, after is not None, down_to is not None, search is not None
    )
    return [AccountRow._make(row) for row in await snapshot.rows(statement, parameters)]


@lru_cache(maxsize=4)
def _account_count_statement(postgresql: bool, search: bool) -> Select[Any]:
    statement = select(func.count()).select_from(_ACCOUNT).where(_ACCOUNT.c.shard.is_(None))
    return statement.where(_search_condition(postgresql)) if search else statement


async def account_count(snapshot: Snapshot, search: str | None, search_id: int | None) -> int:
    statement = _account_count_statement(snapshot.is_postgresql, search is not None)
    rows = await snapshot.rows(statement, _search_parameters(search, search_id))
    return int(rows[0][0])


_EXISTING = select(_ACCOUNT.c.id).where(_ACCOUNT.c.id == bindparam("account_id", type_=BigInteger()))


async def has_account(database: Database, account_id: int) -> bool:
    return bool(await database.read(_EXISTING, {"account_id": account_id}))


_LEFT = exists().where(moved_accounts.c.account_id == _ACCOUNT.c.id, moved_accounts.c.number == _ACCOUNT.c.shard)
_ARRIVES = exists().where(
    account_moves.c.account_id == _ACCOUNT.c.id,
    account_moves.c.number == _ACCOUNT.c.shard,
    account_moves.c.direction == ARRIVING,
)
WAS_MOVED = _ACCOUNT.c.shard.is_not(None) & (_LEFT | _ARRIVES)
"""The account is on another shard, and a move says so."""

_SHARD = select(_ACCOUNT.c.shard, WAS_MOVED).where(_ACCOUNT.c.id == bindparam("account_id", type_=BigInteger()))


async def shard_of_account(database: Database, account_id: int) -> tuple[int | None, bool]:
    """Returns the shard that the account is on if it is not this one, and whether a move says so."""
    [(shard, was_moved)] = await database.read(_SHARD, {"account_id": account_id})
    return shard, bool(was_moved)


async def account_now(connection: WriteConnection, account_id: int) -> AccountRow:
    """Returns the account as committed. It is not locked, so others may post to it."""
    statement = select(*columns(_ACCOUNT, AccountRow)).where(_ACCOUNT.c.id == account_id)
    return AccountRow._make((await connection.execute(statement)).one())
