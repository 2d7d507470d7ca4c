from __future__ import annotations

from datetime import datetime
from operator import attrgetter
from typing import Final

from db import accounts
from db.filters import AccountFilter
from db.rows import AccountRow
from ledger.errors import BadUserInput, NotFound
from ledger.ids import parse_account_id
from resolvers.context import QueryContext
from resolvers.cursors import CursorKind, LedgerCursorWriter
from resolvers.pager import NumberedList
from resolvers.pages import Page
from resolvers.reads.texts import checked_characters

MIN_SEARCH = 3
MAX_SEARCH = 200

_LIST: Final = NumberedList[AccountRow](CursorKind.ACCOUNTS, attrgetter("id"))


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

    async def read(limit: int, after: int | None) -> list[AccountRow]:
        return await accounts.account_page(
            context.snapshot, limit=limit, after=after, search=search, search_id=_search_id(search)
        )

    return await _LIST.page(read, first, after, row_filter)


def _search_id(search: str | None) -> int | None:
    return None if search is None else parse_account_id(search)


async def account_count(context: QueryContext, page: Page[AccountRow]) -> int:
    search: str | None = page.row_filter.search
    return await accounts.account_count(context.snapshot, search, _search_id(search))
