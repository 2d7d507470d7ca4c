"""Authorizations of an account, and what is available besides them."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from db.filters import AuthorizationFilter, Window
from db.limit_rows import AuthorizationRow
from db.rows import AccountRow
from ledger.authorizations import AuthorizationState
from ledger.errors import NotFound
from ledger.ids import parse_authorization_id
from ledger.texts import API_KEY, PROJECT
from resolvers.context import QueryContext, covers
from resolvers.cursors import CursorKind
from resolvers.pager import NumberedList
from resolvers.pages import Page

_LIST: Final = NumberedList[AuthorizationRow](CursorKind.AUTHORIZATIONS, attrgetter("number"), loses_rows=True)


def authorization_filter(
    state: AuthorizationState | None = None, api_key: str | None = None, project: str | None = None
) -> AuthorizationFilter:
    """Raises BadUserInput for an invalid key or project."""
    return AuthorizationFilter(
        state=None if state is None else state.value,
        api_key=None if api_key is None else API_KEY.checked(api_key, "apiKeyId"),
        project=None if project is None else PROJECT.checked(project, "project"),
    )


async def authorization_page(
    context: QueryContext, account: AccountRow, row_filter: AuthorizationFilter, first: int | None, after: str | None
) -> Page[AuthorizationRow]:
    """Returns a page, newest first. Raises BadUserInput and BadCursor."""

    async def read(limit: int, after: int | None) -> list[AuthorizationRow]:
        context.take_nested_rows(limit - 1)
        window = Window(limit=limit, after=after)
        return await context.loaders.authorization_page.load((account.id, (row_filter, window, context.now)))

    return await _LIST.page(read, first, after, row_filter, account.id)


async def authorization_count(context: QueryContext, page: Page[AuthorizationRow]) -> int:
    return await context.loaders.authorization_count.load((page.account_id, (page.row_filter, context.now)))


async def authorization(context: QueryContext, authorization_id: str) -> AuthorizationRow:
    """Raises NotFound."""
    key = parse_authorization_id(authorization_id)
    row = await context.loaders.authorization.load(key) if key and covers(context.principal, key[0]) else None
    if row is None:
        raise NotFound("there is no such authorization")
    return row


def prefetch_available(context: QueryContext, account_id: int) -> None:
    context.loaders.reserved.load((account_id, context.now))


async def available_nanos(context: QueryContext, account: AccountRow) -> int:
    reserved = await context.loaders.reserved.load((account.id, context.now))
    return account.balance_nanos - sum(one.reserved_nanos for one in reserved)
