"""API keys of an account."""

from __future__ import annotations

import json
from operator import attrgetter
from typing import Final

from db.filters import KeyFilter, Window
from db.rows import AccountRow, ApiKeyRow
from ledger.ids import account_id_text
from resolvers.context import QueryContext
from resolvers.cursors import CursorKind
from resolvers.pager import NumberedList
from resolvers.pages import Page

_LIST: Final = NumberedList[ApiKeyRow](CursorKind.KEYS, attrgetter("id"))


def account_ids(row: ApiKeyRow) -> list[str] | None:
    return None if row.account_ids is None else [account_id_text(number) for number in json.loads(row.account_ids)]


def allowed_addresses(row: ApiKeyRow) -> list[str] | None:
    return None if row.allowed_addresses is None else json.loads(row.allowed_addresses)


def operations(row: ApiKeyRow) -> list[str] | None:
    return None if row.operations is None else json.loads(row.operations)


async def key_page(
    context: QueryContext, account: AccountRow, first: int | None, after: str | None, sessions: bool | None = None
) -> Page[ApiKeyRow]:
    """Returns a page, newest first: of all keys, only sessions, or only other keys.

    Raises Forbidden if the key may not manage keys.
    """
    context.require_keeper()
    row_filter = None if sessions is None else KeyFilter(sessions)

    async def read(limit: int, after: int | None) -> list[ApiKeyRow]:
        context.take_nested_rows(limit - 1)
        return await context.loaders.key_page.load((account.id, (row_filter, Window(limit=limit, after=after))))

    return await _LIST.page(read, first, after, row_filter, account_id=account.id)


async def key_count(context: QueryContext, page: Page[ApiKeyRow]) -> int:
    return await context.loaders.key_count.load((page.account_id, page.row_filter))
