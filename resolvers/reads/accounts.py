from __future__ import annotations

from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Final

from db import accounts
from db.connections.snapshots import Snapshot
from db.filters import AccountFilter
from db.rows import AccountRow, TransactionRow
from ledger.errors import BadUserInput, NotFound
from ledger.ids import parse_account_id
from resolvers.context import QueryContext
from resolvers.cursors import CursorKind, LedgerCursorWriter
from resolvers.merged_list import MergedList
from resolvers.pager import NumberedList
from resolvers.pages import Page
from resolvers.reads.texts import checked_characters

MIN_SEARCH = 3
MAX_SEARCH = 200

_LIST: Final = NumberedList[AccountRow](CursorKind.ACCOUNTS, attrgetter("id"))
_MERGED: Final = MergedList[AccountRow](CursorKind.ACCOUNTS, attrgetter("id"), attrgetter("created_at"))


async def account(context: QueryContext, account_id: str | None) -> AccountRow:
    row = await context.loaders.account.load(context.account_in_scope(account_id))
    if row is None:
        raise NotFound("there is no such account")
    if context.sizes is not None:
        context.sizes.note(row.id, row.head_seq)
    return row


def prefetch_account(context: QueryContext, _above: None, id: str | None = None) -> int:  # noqa: A002  GraphQL's name
    """Prefetches the account's row. Returns the account's number, the key for the fields below."""
    number = context.account_in_scope(id)
    context.loaders.account.load(number)
    return number


def prefetch_known_account(context: QueryContext, account_id: int) -> int:
    """Prefetches the row of an account that is in scope."""
    context.loaders.account.load(account_id)
    return account_id


async def account_of_row(context: QueryContext, row: TransactionRow) -> AccountRow:
    account = await context.loaders.account.load(row.account_id)
    assert account is not None, "a row has an account"
    return account


_KNOWN_AFTER: Final = frozenset({"id", "balance_nanos", "head_seq", "head_at", "head_hash"})


async def account_after(context: QueryContext, row: TransactionRow, attributes: frozenset[str] | None) -> AccountRow:
    """Returns the account with the balance and the position that it had after the row. Reads it only if more than
    those attributes are needed; None stands for all.

    It has no time of the head: later rows may precede the moment that a balance is asked for.
    """
    is_known = attributes is not None and attributes <= _KNOWN_AFTER
    unread = AccountRow(row.account_id, None, "", "", "", row.created_at, 0, None, None, 0)
    account = unread if is_known else await account_of_row(context, row)
    return account._replace(balance_nanos=row.balance_after_nanos, head_seq=row.seq, head_at=None, head_hash=row.hash)


def prefetch_balance(context: QueryContext, account_id: int, as_of: datetime | None = None) -> None:
    if as_of is not None:
        context.loaders.balance_as_of.load((account_id, as_of))


async def balance(context: QueryContext, row: AccountRow, as_of: datetime | None) -> int:
    if as_of is None or (row.head_at is not None and as_of >= row.head_at):
        return row.balance_nanos
    return await context.loaders.balance_as_of.load((row.id, as_of))


def balance_cursor(row: AccountRow) -> str:
    return LedgerCursorWriter(row.id).of_row(row.head_seq, row.head_hash)


def checked_search(search: str | None) -> str | None:
    if search is None:
        return None
    if not MIN_SEARCH <= len(search) <= MAX_SEARCH:
        msg = f"search must have {MIN_SEARCH} to {MAX_SEARCH} characters, not {len(search)}"
        raise BadUserInput(msg)
    return checked_characters(search, "search")


async def account_page(
    context: QueryContext, first: int | None, after: str | None, search: str | None
) -> Page[AccountRow]:
    context.require_operator()
    row_filter = AccountFilter(checked_search(search))

    async def read(snapshot: Snapshot, limit: int, after: int | None, down_to: int | None = None) -> list[AccountRow]:
        return await accounts.account_page(
            snapshot, limit=limit, after=after, down_to=down_to, search=search, search_id=_search_id(search)
        )

    if context.others:
        return await _MERGED.page(context.snapshots, read, first, after, row_filter, context.hosts())
    return await _LIST.page(partial(read, context.snapshot), first, after, row_filter)


def _search_id(search: str | None) -> int | None:
    return None if search is None else parse_account_id(search)


async def account_count(context: QueryContext, page: Page[AccountRow]) -> int:
    search: str | None = page.row_filter.search
    return sum([await accounts.account_count(one, search, _search_id(search)) for one in context.snapshots])
