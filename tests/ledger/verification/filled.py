"""A ledger with a bit of everything, whose guards are lifted: any row of it can be changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import insert, text

from db.database import Database
from db.limit_rows import SpendLimitRow
from db.limit_tables import spend_limits
from db.rows import UsageDayRow
from ledger.attribution import NOBODY, Attribution
from ledger.commands import EndCharge, Entry, ExpireHold, Ref
from ledger.idempotent_calls import CallResult, IdempotentCall, run_once
from ledger.kinds import RefType, TransactionType, UsageCategory, UsageOrigin
from ledger.metering import MeteredRequest, UsageBatch, usage_posting
from ledger.posting import LedgerTransaction
from ledger.usage import Rollup, record_rollups
from ledger.usage_prices import UsagePrice
from ledger.verification.accounts import verify_account
from ledger.verification.calls import other_call_faults
from ledger.verification.checkpoints import Checkpoints
from ledger.verification.faults import Fault
from ledger.windows import SpendWindow, window_start
from tests.ledger.desk import (
    DAY,
    HOUR,
    INFERENCE,
    OPERATOR,
    SERVICE,
    START,
    STORAGE,
    VOLUME,
    Desk,
    api_usage,
    correction,
    open_hold,
    posting,
    renew,
    settle,
    usd,
)

ABANDONED: Final = Ref(RefType.GPU_INSTANCE, "abandoned")
LATE: Final = Ref(RefType.GPU_INSTANCE, "late")
DELETED: Final = Ref(RefType.SHARED_FILESYSTEM, "deleted")

PRICE: Final = UsagePrice(3 * 10**9, 10**9, 12 * 10**9, 18 * 10**9, unit_nanos=7 * 10**9, call_nanos=400_000)
"""Every part of it costs so much that a change of any quantity can be seen."""
WEB: Final = Attribution("key-1", "web")


@dataclass(frozen=True)
class Filled:
    desk: Desk
    busy: int
    """An account with holds, volumes and odd texts."""
    metered: int
    """One whose requests were all recorded live."""
    imported: int
    """One with days from rollups, and few rows."""

    @property
    def database(self) -> Database:
        return self.desk.database

    async def faults(self) -> list[Fault]:
        ids = (self.busy, self.metered, self.imported)
        found = [fault for account_id in ids for fault in (await verify_account(self.database, account_id)).faults]
        return [*found, *[fault async for fault in other_call_faults(self.database)]]

    async def subjects(self) -> set[tuple[str, str]]:
        """(kind, row) of each fault."""
        return {(fault.kind.value, fault.subject) for fault in await self.faults()}


def requests(number: int, at: datetime) -> UsageBatch:
    def one(name: str, category: UsageCategory, cost_nanos: int) -> MeteredRequest:
        return MeteredRequest(f"{name}-{number}", at, "large", category, UsageOrigin.PLATFORM, 5, 7, cost_nanos)

    spenders = [WEB, Attribution("key-2", "web"), Attribution("key-1", ""), NOBODY]

    def priced(name: str, who: Attribution) -> MeteredRequest:
        return one(name, UsageCategory.CHAT, 0)._replace(
            cost_nanos=None,
            api_key_id=who.api_key or None,
            project=who.project or None,
            end_user="ann",
            cached_input_tokens=2,
            reasoning_tokens=3,
            units_nanos=1_500_000_000,
            price=PRICE,
        )

    return UsageBatch(
        [
            *(one("chat", UsageCategory.CHAT, 11 * number), one("image", UsageCategory.IMAGE, 13)),
            *(priced("priced", spenders[number % 4]), priced("also priced", spenders[number // 4 % 4])),
        ]
    )


def spent_alone(number: int, at: datetime) -> UsageBatch:
    """Returns a batch that one API key and project spends."""
    priced = requests(4 * number, at).requests[2]
    return UsageBatch([priced._replace(id=f"alone-{number}")])


async def add_limit(desk: Desk, account_id: int, number: int, window: SpendWindow, who: Attribution = NOBODY) -> None:
    row = SpendLimitRow(
        *(account_id, number, *who, window.value, usd("50.00"), "50,80", desk.now, desk.now, None, 0),
        window_start=window_start(window, desk.now),
        notified_percent=0,
    )
    async with desk.database.write() as connection:
        await connection.execute(insert(spend_limits).values(row._asdict()))


async def add_limits(desk: Desk, account_id: int) -> None:
    for number, window in enumerate(SpendWindow, start=1):
        await add_limit(desk, account_id, number, window)
    await add_limit(desk, account_id, 5, SpendWindow.MONTH, Attribution("key-1", ""))
    await add_limit(desk, account_id, 6, SpendWindow.TOTAL, WEB)


async def _fill_busy(desk: Desk, account_id: int) -> None:
    opening = posting(account_id, open_hold(usd("1.00")), open_hold(usd("5.00"), INFERENCE), key="open")
    await desk.ledger.post(replace(opening, attribution=WEB))
    desk.now = START + HOUR
    await desk.post(account_id, open_hold(usd("2.00"), ABANDONED), key="abandoned")
    desk.now += HOUR
    await desk.post(account_id, open_hold(usd("3.00"), LATE), key="late")
    desk.now = START + DAY
    await desk.post(account_id, renew(usd("5.00"), usd("5.00"), 1), settle(usd("0.50")), key="even and refund")
    desk.now += HOUR
    await desk.post(account_id, ExpireHold(ABANDONED), ExpireHold(LATE), key="expire")
    desk.now = START + 2 * DAY
    await desk.post(account_id, renew(usd("6.00"), usd("5.00"), 2), key="overage")
    desk.now += HOUR
    await desk.post(account_id, settle(usd("2.75"), LATE), key="settle late")
    for ref in (VOLUME, DELETED):
        desk.now += HOUR
        drive = Entry(TransactionType.STORAGE_BILLING, -100, f"Drive “{ref.id}” × Ж", ref=ref)
        await desk.post(account_id, drive, writer=STORAGE, key=ref.id)
    await desk.post(account_id, EndCharge(DELETED), writer=STORAGE)
    desk.now = START + 40 * DAY
    await desk.post(account_id, correction(-5, "Ünïcode “quoted”"), writer=OPERATOR, key="correct")
    desk.now += HOUR
    await desk.post(account_id, Entry(TransactionType.BONUS, 7, "Goodwill", corrects_seq=2), key="bonus")
    desk.now += HOUR
    await desk.post(account_id, open_hold(usd("1.00"), Ref(RefType.GPU_INSTANCE, "133"), 40), key="open later")


async def _fill_metered(desk: Desk, account_id: int) -> None:
    for number in range(1, 4):
        desk.now += HOUR
        for batch in (requests(number, desk.now), spent_alone(number, desk.now)):
            await desk.ledger.post(usage_posting(account_id, SERVICE, batch.requests[0].id, batch, desk.now))


async def _fill_imported(desk: Desk, account_id: int) -> None:
    async with desk.database.write() as connection:
        days = [(START + timedelta(days=number)).date() for number in (0, 1, 35)]
        rollups = [Rollup(UsageDayRow(account_id, day, "small", "chat", "user_inference", 3, 4, 5, 6)) for day in days]
        await record_rollups(connection, rollups)
    await desk.post(account_id, api_usage(9), key="usage")


async def _remember_creation(desk: Desk, account_id: int) -> None:
    """As `createAccount` does."""

    async def work(transaction: LedgerTransaction) -> CallResult:
        return await run_once(transaction, IdempotentCall("createAccount", "first", {}), lambda: came(transaction))

    async def came(_transaction: LedgerTransaction) -> CallResult:
        return CallResult(account_id, usd("100.00"), last_seq=1)

    await desk.ledger.within(work)


async def lift_guards(database: Database) -> None:
    async with database.write() as connection:
        for table in ("transactions", "ledger_checkpoints"):
            if database.is_postgresql:
                await connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER {table}_refuse_change"))
            else:
                for verb in ("update", "delete", "replace"):
                    await connection.execute(text(f"DROP TRIGGER {table}_refuse_{verb}"))


async def filled(desk: Desk) -> Filled:
    busy, metered, imported = [await desk.account("100.00") for _ in range(3)]
    await _remember_creation(desk, busy)
    for account_id in (busy, metered):
        await add_limits(desk, account_id)
    await _fill_busy(desk, busy)
    await Checkpoints(desk.database, lambda: desk.now).run()
    desk.now += DAY
    await desk.post(busy, settle(usd("0.25"), Ref(RefType.GPU_INSTANCE, "133")), key="settle later")
    await _fill_metered(desk, metered)
    await _fill_imported(desk, imported)
    await Checkpoints(desk.database, lambda: desk.now).run()
    desk.now += HOUR
    await desk.post(busy, api_usage(3), key="newest")
    await lift_guards(desk.database)
    return Filled(desk, busy, metered, imported)
