"""Auto-recharge, as the account's owner sees it."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import cast

from db.recharges import RechargeViewRow
from db.rows import AccountRow
from ledger.kinds import AccountStatus
from ledger.recharges import RechargeBlock, block_of
from resolvers.context import QueryContext
from resolvers.reads.explanations import explain_recharge


def prefetch_auto_recharge(context: QueryContext, account_id: int) -> int:
    """Prefetches the view. Returns the account, the key for the fields below."""
    context.loaders.auto_recharge.load((account_id, _day(context.now)))
    return account_id


async def auto_recharge(context: QueryContext, account_id: int) -> RechargeViewRow | None:
    """Returns None if auto-recharge was never set."""
    return await context.loaders.auto_recharge.load((account_id, _day(context.now)))


def _day(now: datetime) -> tuple[datetime, datetime]:
    first = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    return first, first + timedelta(days=1)


def prefetch_saved_card(context: QueryContext, account_id: int) -> None:
    context.loaders.saved_card.load(account_id)


async def has_saved_card(context: QueryContext, account_id: int) -> bool:
    return await context.loaders.saved_card.load(account_id)


def prefetch_block(context: QueryContext, account_id: int) -> None:
    context.loaders.account.load(account_id)
    prefetch_saved_card(context, account_id)


async def block(context: QueryContext, row: RechargeViewRow) -> RechargeBlock | None:
    """Returns why no payment would be requested; None if one would be."""
    account = context.loaders.account.load(row.account_id)
    has_card = await has_saved_card(context, row.account_id)
    return block_of(
        row,
        context.now,
        has_payments=context.has_payments,
        is_suspended=cast("AccountRow", await account).status == AccountStatus.SUSPENDED,
        has_card=has_card,
    )


async def next_try_at(context: QueryContext, row: RechargeViewRow) -> datetime | None:
    """Returns the time of the next try; None if auto-recharge does not wait for a time."""
    return _next_try_at(row, context.now, await block(context, row))


def _next_try_at(row: RechargeViewRow, now: datetime, found: RechargeBlock | None) -> datetime | None:
    if found == RechargeBlock.RETRY_LATER:
        return row.retry_at
    return _day(now)[1] if found == RechargeBlock.DAILY_LIMIT_REACHED else None


async def explanation(context: QueryContext, row: RechargeViewRow) -> str:
    found = await block(context, row)
    account = await context.loaders.account.load(row.account_id)
    currency = cast("AccountRow", account).currency
    return explain_recharge(row, currency, found, _next_try_at(row, context.now, found))
