"""A ledger with a clock that the test moves, and short words for what is posted to it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from sqlalchemy import text

from db import writes
from db.database import Database
from db.rows import ChargeRow, HoldRow, TransactionRow
from ledger.commands import Command, Entry, OpenHold, Outcome, Period, Posting, Ref, RenewHold, SettleHold, Writer
from ledger.kinds import RefType, TransactionType, WriterKind
from ledger.money import format_nanos, parse_nanos
from ledger.posting import Ledger
from tests.ledger.recompute import Stored, read_tables

START: Final = datetime(2026, 11, 1, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)

SERVICE: Final = Writer(WriterKind.SERVICE, "eco_service")
WEBHOOK: Final = Writer(WriterKind.WEBHOOK, "stripe-webhook")
OPERATOR: Final = Writer(WriterKind.OPERATOR, "eco_operator")
STORAGE: Final = Writer(WriterKind.STORAGE_WORKER, "storage-worker")

GPU: Final = Ref(RefType.GPU_INSTANCE, "132")
INFERENCE: Final = Ref(RefType.INFERENCE_INSTANCE, "i-7")
VOLUME: Final = Ref(RefType.VOLUME, "v-1")

usd: Final[Callable[[str], int]] = parse_nanos


def title(ref: Ref) -> str:
    return f"{ref.type.value.replace('_', ' ').title()} #{ref.id}"


def period(number: int = 0, length: timedelta = DAY) -> Period:
    """The n-th of the periods that follow upon each other from the start."""
    return Period(START + number * length, START + (number + 1) * length)


def open_hold(nanos: int, ref: Ref = GPU, number: int = 0, length: timedelta = DAY) -> OpenHold:
    return OpenHold(ref, nanos, f"{title(ref)}: hold per-GPU × 1 GPU × 24h", period(number, length))


def renew(used_nanos: int, nanos: int, number: int, ref: Ref = INFERENCE, length: timedelta = DAY) -> RenewHold:
    """Ends the period before the n-th and holds the n-th."""
    settlement, hold = f"{title(ref)}: cycle {number} ended", f"{title(ref)}: hold for cycle {number + 1}"
    return RenewHold(ref, used_nanos, settlement, nanos, hold, period(number, length))


def settle(used_nanos: int, ref: Ref = GPU, ended_at: datetime | None = None) -> SettleHold:
    return SettleHold(ref, used_nanos, f"{title(ref)}: stopped", ended_at)


def correction(nanos: int, description: str = "Opening balance") -> Entry:
    return Entry(TransactionType.ADMIN_CORRECTION, nanos, description)


def api_usage(nanos: int) -> Entry:
    return Entry(TransactionType.GPU_USAGE, -nanos, "API usage", ref=Ref(RefType.API_USAGE, "batch-1"))


def posting(
    account_id: int, *commands: Command, writer: Writer = SERVICE, key: str | None = None, operation: str = "post"
) -> Posting:
    return Posting(account_id, writer, commands, operation, key)


def brief(rows: tuple[TransactionRow, ...] | list[TransactionRow]) -> list[tuple[str, str, str]]:
    """(type, amount, balance after) of each."""
    return [(row.type, format_nanos(row.amount_nanos), format_nanos(row.balance_after_nanos)) for row in rows]


class Desk:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = START
        self.ledger = Ledger(database, lambda: self.now)

    async def account(self, balance: str = "0.00", *, suspended: bool = False) -> int:
        """A new account, with one row that brings its balance about unless it is zero."""
        async with self.database.write() as connection:
            account = await writes.insert_account(connection, external_id=None, name="Account", created_at=START)
        if nanos := usd(balance):
            await self.post(account.id, correction(nanos), writer=OPERATOR)
        if suspended:
            await self.execute(f"UPDATE accounts SET status = 'suspended' WHERE id = {account.id}")
        return account.id

    async def execute(self, statement: str) -> None:
        async with self.database.write() as connection:
            await connection.execute(text(statement))

    async def post(
        self,
        account_id: int,
        *commands: Command,
        writer: Writer = SERVICE,
        key: str | None = None,
        operation: str = "post",
    ) -> Outcome:
        (outcome,) = await self.ledger.post(posting(account_id, *commands, writer=writer, key=key, operation=operation))
        return outcome

    async def tables(self) -> Stored:
        return await read_tables(self.database)

    async def rows(self, account_id: int) -> list[TransactionRow]:
        return [row for row in (await self.tables()).transactions if row.account_id == account_id]

    async def charge(self, account_id: int, ref: Ref = GPU) -> ChargeRow:
        key = account_id, ref.type.value, ref.id
        (charge,) = [one for one in (await self.tables()).charges if one[:3] == key]
        return charge

    async def holds(self, account_id: int, ref: Ref = GPU) -> list[HoldRow]:
        key = account_id, ref.type.value, ref.id
        return [one for one in (await self.tables()).holds if (one.account_id, one.ref_type, one.ref_id) == key]

    async def months(self, account_id: int) -> dict[str, tuple[str, str, str]]:
        """(gross, refunded, held in open charges) by month."""
        months = [one for one in (await self.tables()).months if one.account_id == account_id]
        return {
            one.month: (
                format_nanos(one.gross_nanos),
                format_nanos(one.refunded_nanos),
                format_nanos(one.open_holds_nanos),
            )
            for one in months
        }

    async def writes_nothing(self, refused: Coroutine[Any, Any, Any], error: type[Exception], match: str = "") -> None:
        """The call is refused with the error, and no table has changed."""
        before = await self.tables()
        with pytest.raises(error) as refusal:
            await refused
        assert (type(refusal.value), match in str(refusal.value)) == (error, True), refusal.value
        assert await self.tables() == before
