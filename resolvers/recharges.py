"""Auto-recharge as its owner sees it and sets it."""

from __future__ import annotations

from dataclasses import astuple
from datetime import UTC, datetime, time, timedelta

from db.recharges import RechargeViewRow
from ledger.acts import Call
from ledger.keys import acting_key
from ledger.posting import LedgerTransaction
from ledger.recharges import RechargeSettings, RechargeState, put_settings, switch_off
from resolvers.acts import ActOutcome, acted_once
from resolvers.context import Reads
from resolvers.writes import Writes

OPERATION = "setAutoRecharge"


def ask_auto_recharge(reads: Reads, account_id: int) -> None:
    reads.loaders.auto_recharge.load((account_id, _day(reads.now)))


async def auto_recharge(reads: Reads, account_id: int) -> RechargeViewRow | None:
    """None where it was never set."""
    return await reads.loaders.auto_recharge.load((account_id, _day(reads.now)))


def _day(now: datetime) -> tuple[datetime, datetime]:
    first = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    return first, first + timedelta(days=1)


def next_try_at(reads: Reads, row: RechargeViewRow) -> datetime | None:
    """None where nothing keeps it waiting."""
    is_put_off = row.state == RechargeState.ACTIVE and row.retry_at is not None and row.retry_at > reads.now
    return row.retry_at if is_put_off else None


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

    return await writes.act(work)
