"""The list of an account's keys."""

from __future__ import annotations

import json

from db.rows import AccountRow, ApiKeyRow
from ledger.ids import account_id_text
from resolvers.context import QueryContext
from resolvers.cursors import NO_FILTER, CursorKind, CursorWriter, position_in
from resolvers.pages import Page, page_rows, window_of


def account_ids(row: ApiKeyRow) -> list[str] | None:
    return None if row.account_ids is None else [account_id_text(number) for number in json.loads(row.account_ids)]


def operations(row: ApiKeyRow) -> list[str] | None:
    return None if row.operations is None else json.loads(row.operations)


async def key_page(context: QueryContext, account: AccountRow, first: int | None, after: str | None) -> Page[ApiKeyRow]:
    """Newest first. Raises Forbidden for keys that keep none."""
    context.require_keeper()
    position = position_in(after, "after", CursorKind.KEYS, account.id, NO_FILTER)
    writer = CursorWriter(CursorKind.KEYS, account.id)
    window = window_of(first, None, position, None)
    context.take_nested_rows(window.limit - 1)
    found = await context.loaders.key_page.load((account.id, window))
    rows, has_next, has_previous = page_rows(found, window)
    return Page(account.id, None, rows, has_next, has_previous, lambda rows: writer.of_seqs([row.id for row in rows]))


async def key_count(context: QueryContext, page: Page[ApiKeyRow]) -> int:
    return await context.loaders.key_count.load((page.account_id, None))
