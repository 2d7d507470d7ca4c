from __future__ import annotations

import asyncio
from datetime import datetime

from db import audit
from db.filters import AuditFilter
from db.rows import AccountRow, AuditEntryRow, TransactionRow
from ledger.errors import BadUserInput
from resolvers.context import QueryContext
from resolvers.cursors import CursorKind, CursorWriter, filter_digest, position_in
from resolvers.pages import Page, page_rows, window_of
from resolvers.reads.texts import checked_characters


def audit_filter(
    context: QueryContext,
    *,
    act: str | None = None,
    actor: str | None = None,
    account_id: str | None = None,
    at_gte: datetime | None = None,
    at_lt: datetime | None = None,
) -> AuditFilter:
    """Raises Forbidden unless an operator asks, NotFound for what is no account, BadUserInput for bad values."""
    context.require_operator()
    if at_gte is not None and at_lt is not None and at_lt < at_gte:
        raise BadUserInput("at has an invalid range: lt must not be before gte")
    return AuditFilter(
        act=None if act is None else checked_characters(act, "act"),
        actor=None if actor is None else checked_characters(actor, "actor"),
        account_id=None if account_id is None else context.account_in_scope(account_id, "accountId"),
        at_gte=at_gte,
        at_lt=at_lt,
    )


async def audit_page(
    context: QueryContext, row_filter: AuditFilter, first: int | None, after: str | None
) -> Page[AuditEntryRow]:
    digest = filter_digest(row_filter)
    position = position_in(after, "after", CursorKind.AUDIT, 0, digest)
    window = window_of(first, None, position, None)
    found = await audit.audit_page(context.snapshot, row_filter, limit=window.limit, after=position)
    rows, has_next, has_previous = page_rows(found, window)
    writer = CursorWriter(CursorKind.AUDIT, 0, digest)
    return Page(0, row_filter, rows, has_next, has_previous, lambda rows: writer.of_seqs([row.id for row in rows]))


async def audit_count(context: QueryContext, page: Page[AuditEntryRow]) -> int:
    return await audit.audit_count(context.snapshot, page.row_filter)


async def account_of(context: QueryContext, entry: AuditEntryRow) -> AccountRow | None:
    return None if entry.account_id is None else await context.loaders.account.load(entry.account_id)


async def rows_of(context: QueryContext, entry: AuditEntryRow) -> list[TransactionRow | None]:
    """Oldest first."""
    if entry.account_id is None or entry.first_seq is None or entry.last_seq is None:
        return []
    seqs = range(entry.first_seq, entry.last_seq + 1)
    return list(await asyncio.gather(*(context.loaders.transaction.load((entry.account_id, seq)) for seq in seqs)))
