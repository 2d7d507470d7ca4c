"""Spend limits, with what is spent and reserved at the time of the request."""

from __future__ import annotations

from datetime import datetime

from db.limit_rows import SpendLimitRow
from ledger import spending, windows
from ledger.errors import NotFound
from ledger.ids import parse_spend_limit_id
from ledger.spending import Standing
from ledger.windows import SpendWindow
from resolvers.context import QueryContext, covers


def prefetch_spend_limits(context: QueryContext, account_id: int) -> int:
    """Prefetches the limits. Returns the account, the key for the fields below."""
    context.loaders.spend_limits.load(account_id)
    return account_id


async def spend_limits(context: QueryContext, account_id: int) -> list[SpendLimitRow]:
    return await context.loaders.spend_limits.load(account_id)


async def spend_limit(context: QueryContext, limit_id: str) -> SpendLimitRow:
    """Raises NotFound. A deleted limit is returned."""
    key = parse_spend_limit_id(limit_id)
    row = await context.loaders.spend_limit.load(key) if key and covers(context.principal, key[0]) else None
    if row is None:
        raise NotFound("there is no such spend limit")
    return row


async def limit_of(context: QueryContext, account_id: int, number: int) -> SpendLimitRow:
    """Returns the limit of an event. It exists, because limits are marked as deleted, not removed."""
    row = await context.loaders.spend_limit.load((account_id, number))
    assert row is not None
    return row


def spent_nanos(context: QueryContext, row: SpendLimitRow) -> int:
    return spending.spent_nanos(row, context.now)


def resets_at(context: QueryContext, row: SpendLimitRow) -> datetime | None:
    return windows.resets_at(SpendWindow(row.window_kind), context.now)


def prefetch_standing(context: QueryContext, account_id: int) -> None:
    context.loaders.reserved.load((account_id, context.now))


async def standing(context: QueryContext, row: SpendLimitRow) -> Standing:
    return spending.standing(row, await context.loaders.reserved.load((row.account_id, context.now)), context.now)
