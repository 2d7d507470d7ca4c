"""Auto-recharge as its owner sees it and sets it."""

from __future__ import annotations

from dataclasses import astuple
from datetime import UTC, datetime, time, timedelta
from typing import cast

from db.recharges import RechargeViewRow
from db.rows import AccountRow
from ledger.acts import Call
from ledger.keys import acting_key
from ledger.kinds import AccountStatus
from ledger.posting import LedgerTransaction
from ledger.recharges import RechargeBlock, RechargeSettings, block_of, put_settings, switch_off
from resolvers.acts import ActOutcome, acted_once
from resolvers.context import Reads
from resolvers.explanations import explain_recharge
from resolvers.writes import Writes

OPERATION = "setAutoRecharge"


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


async def set_auto_recharge(
    writes: Writes, account_id: str | None, idempotency_key: str, settings: RechargeSettings | None
) -> ActOutcome:
    """None switches it off."""
    number = writes.account_of_manager(OPERATION, account_id)

    async def work(transaction: LedgerTransaction) -> ActOutcome:
        await acting_key(transaction, writes.principal)

        async def put() -> None:
            if settings is None:
                await switch_off(transaction.connection, number, transaction.clock())
            else:
                await put_settings(transaction.connection, number, settings, transaction.clock())

        payload = None if settings is None else astuple(settings)
        return await acted_once(transaction, Call(OPERATION, idempotency_key, payload, number), put)

    return await writes.act(work, number)
