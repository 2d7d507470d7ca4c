"""Audit entries of one account, as its owner may see them: `Account.activity` in the SDL."""

from __future__ import annotations

from operator import attrgetter
from typing import Final

from access.keys import OF_ACCOUNTS, KeyScope
from db.filters import Window
from db.rows import AccountRow, AuditEntryRow
from ledger.verification.repair import LIMITS_ACTION, MONTHS_ACTION
from resolvers.context import QueryContext
from resolvers.cursors import CursorKind
from resolvers.pager import NumberedList
from resolvers.pages import Page

_LIST: Final = NumberedList[AuditEntryRow](CursorKind.ACCOUNT_AUDIT, attrgetter("id"))

_REASONS: Final = frozenset({"suspendAccount", "reactivateAccount", MONTHS_ACTION, LIMITS_ACTION})
"""Actions whose description was written for operators."""


async def account_audit_page(
    context: QueryContext, account: AccountRow, first: int | None, after: str | None
) -> Page[AuditEntryRow]:
    """Returns a page, newest first. Raises Forbidden if the key may not manage keys."""
    context.require_keeper()

    async def read(limit: int, after: int | None) -> list[AuditEntryRow]:
        context.take_nested_rows(limit - 1)
        return await context.loaders.account_audit_page.load((account.id, Window(limit=limit, after=after)))

    return await _LIST.page(read, first, after, account_id=account.id)


async def account_audit_count(context: QueryContext, page: Page[AuditEntryRow]) -> int:
    return await context.loaders.account_audit_count.load((page.account_id, None))


def owner(context: QueryContext, entry: AuditEntryRow) -> str | None:
    """Returns the owner of the key; None for the operator's staff and services, if a customer asks."""
    is_own = entry.scope is not None and KeyScope(entry.scope) in OF_ACCOUNTS
    return entry.owner if is_own or _is_operator(context) else None


def description(context: QueryContext, entry: AuditEntryRow) -> str | None:
    """Returns the description; None for a reason that was written for operators, if a customer asks."""
    return None if entry.act in _REASONS and not _is_operator(context) else entry.description


def _is_operator(context: QueryContext) -> bool:
    return context.principal.scope == KeyScope.OPERATOR
