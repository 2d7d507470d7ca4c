from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Final

from db import audit
from db.connections.snapshots import Snapshot
from db.filters import AuditFilter
from db.rows import AccountRow, AuditEntryRow, TransactionRow
from ledger.errors import BadUserInput
from resolvers.context import QueryContext
from resolvers.cursors import CursorKind
from resolvers.merged_list import MergedList
from resolvers.pager import NumberedList
from resolvers.pages import Page
from resolvers.reads.texts import checked_characters

_LIST: Final = NumberedList[AuditEntryRow](CursorKind.AUDIT, attrgetter("id"))
_MERGED: Final = MergedList[AuditEntryRow](CursorKind.AUDIT, attrgetter("id"), attrgetter("at"))


def audit_filter(
    context: QueryContext,
    *,
    act: str | None = None,
    actor: str | None = None,
    account_id: str | None = None,
    at_gte: datetime | None = None,
    at_lt: datetime | None = None,
) -> AuditFilter:
    """Raises Forbidden unless the caller is an operator, NotFound for an unknown account, BadUserInput for invalid
    values."""
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
    async def read(
        snapshot: Snapshot, limit: int, after: int | None, down_to: int | None = None
    ) -> list[AuditEntryRow]:
        return await audit.audit_page(snapshot, row_filter, limit=limit, after=after, down_to=down_to)

    if context.others:
        return await _MERGED.page(context.snapshots, read, first, after, row_filter, context.hosts())
    return await _LIST.page(partial(read, context.snapshot), first, after, row_filter)


async def audit_count(context: QueryContext, page: Page[AuditEntryRow]) -> int:
    return sum([await audit.audit_count(one, page.row_filter) for one in context.snapshots])


async def account_of(context: QueryContext, entry: AuditEntryRow) -> AccountRow | None:
    return None if entry.account_id is None else await context.loaders.account.load(entry.account_id)


async def rows_of(context: QueryContext, entry: AuditEntryRow) -> list[TransactionRow | None]:
    """Returns the entry's ledger rows, oldest first."""
    if entry.account_id is None or entry.first_seq is None or entry.last_seq is None:
        return []
    seqs = range(entry.first_seq, entry.last_seq + 1)
    return list(await asyncio.gather(*(context.loaders.transaction.load((entry.account_id, seq)) for seq in seqs)))
