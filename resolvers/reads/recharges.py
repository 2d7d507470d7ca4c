"""Auto-recharge as its owner sees it."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import cast

from db.recharges import RechargeViewRow
from db.rows import AccountRow
from ledger.kinds import AccountStatus
from ledger.recharges import RechargeBlock, block_of
from resolvers.context import Reads
from resolvers.reads.explanations import explain_recharge


def ask_auto_recharge(reads: Reads, account_id: int) -> int:
    """Asks for it ahead; the account is the key of what is asked for below it."""
    reads.loaders.auto_recharge.load((account_id, _day(reads.now)))
    return account_id


async def auto_recharge(reads: Reads, account_id: int) -> RechargeViewRow | None:
    """None where it was never set."""
    return await reads.loaders.auto_recharge.load((account_id, _day(reads.now)))


def _day(now: datetime) -> tuple[datetime, datetime]:
    first = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    return first, first + timedelta(days=1)


def ask_saved_card(reads: Reads, account_id: int) -> None:
    reads.loaders.saved_card.load(account_id)


async def has_saved_card(reads: Reads, account_id: int) -> bool:
    return await reads.loaders.saved_card.load(account_id)


def ask_block(reads: Reads, account_id: int) -> None:
    reads.loaders.account.load(account_id)
    ask_saved_card(reads, account_id)


async def block(reads: Reads, row: RechargeViewRow) -> RechargeBlock | None:
    """Why no payment would be asked for; None if one would be."""
    account = reads.loaders.account.load(row.account_id)
    has_card = await has_saved_card(reads, row.account_id)
    return block_of(
        row,
        reads.now,
        has_payments=reads.has_payments,
        is_suspended=cast("AccountRow", await account).status == AccountStatus.SUSPENDED,
        has_card=has_card,
    )


async def next_try_at(reads: Reads, row: RechargeViewRow) -> datetime | None:
    """None where it does not wait for a time."""
    return _next_try_at(row, reads.now, await block(reads, row))


def _next_try_at(row: RechargeViewRow, now: datetime, found: RechargeBlock | None) -> datetime | None:
    if found == RechargeBlock.RETRY_LATER:
        return row.retry_at
    return _day(now)[1] if found == RechargeBlock.DAILY_LIMIT_REACHED else None


async def explanation(reads: Reads, row: RechargeViewRow) -> str:
    found = await block(reads, row)
    account = await reads.loaders.account.load(row.account_id)
    currency = cast("AccountRow", account).currency
    return explain_recharge(row, currency, found, _next_try_at(row, reads.now, found))
