"""Verification on a running system: nothing that fits is ever accused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import pytest

from db.connections.snapshots import Snapshot
from db.database import Database
from db.rows import UsageDayRow
from ledger.commands import Entry
from ledger.errors import BillingError
from ledger.kinds import TransactionType
from ledger.metering import usage_posting
from ledger.posting import Ledger
from ledger.usage import Rollup, record_rollups
from ledger.verification import accounts, charges, prices
from ledger.verification.accounts import verify_account
from ledger.verification.checkpoints import Checkpoints
from tests.doses import dose
from tests.ledger.desk import SERVICE, Desk
from tests.ledger.test_posting_properties import WildClock, _random_calls
from tests.ledger.verification.filled import add_limits, requests

WRITERS: Final = dose(2, 3)
BATCHES: Final = dose(30, 200)
VERIFICATIONS: Final = 12


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that much is written between two steps."""
    monkeypatch.setattr(accounts, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(accounts, "HOLDS_AT_ONCE", 3)
    monkeypatch.setattr(accounts, "CATCH_UP_ROWS", 20)
    monkeypatch.setattr(charges, "CHARGES_AT_ONCE", 3)
    for name in ("DAYS_AT_ONCE", "HOURS_AT_ONCE", "DETAILS_AT_ONCE"):
        monkeypatch.setattr(prices, name, 50)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that others write between any two reads."""
    for reader, name in ((Database, "read"), (Snapshot, "rows")):
        read = getattr(reader, name)

        async def slow(*arguments: Any, read: Any = read) -> Any:
            found = await read(*arguments)
            await asyncio.sleep(0.003)
            return found

        monkeypatch.setattr(reader, name, slow)


async def _post_calls(ledger: Ledger, random: Random, account_ids: list[int]) -> None:
    for call in _random_calls(random, account_ids):
        with suppress(BillingError):
            await ledger.post(*call)


async def _record(database: Database, ledger: Ledger, random: Random, account_ids: list[int]) -> None:
    now = datetime.now(UTC)
    for number in range(BATCHES):
        account_id, day = random.choice(account_ids), now - timedelta(days=random.randint(0, 50))
        batch = requests(number + random.randint(0, 10**6), day)
        with suppress(BillingError):
            await ledger.post(usage_posting(account_id, SERVICE, f"batch {random.random()}", batch, now))
        if number % 10 == 0:
            usage = UsageDayRow(account_id, day.date(), "large", "chat", "platform", 1, number, 3, 4)
            async with database.write() as connection:
                await record_rollups(connection, [Rollup(usage, replace=True)])


@pytest.mark.usefixtures("pauses")
async def test_a_ledger_that_is_written_to_is_never_accused(database: Database) -> None:
    random, desk = Random(3), Desk(database)
    account_ids = [await desk.account("1.00") for _ in range(2)]
    for account_id in account_ids:
        await add_limits(desk, account_id)
    ledger = Ledger(database, WildClock(random))
    work = [_post_calls(ledger, Random(number), account_ids) for number in range(WRITERS)]
    work += [_record(database, ledger, Random(number), account_ids) for number in range(2)]
    writing = asyncio.gather(*work)
    heads: set[int] = set()
    verified = 0
    while not writing.done() or verified < VERIFICATIONS:
        await Checkpoints(database, lambda: datetime.now(UTC) + timedelta(days=len(heads))).run()
        for account_id in account_ids:
            found = await verify_account(database, account_id)
            assert found.faults == []
            heads.add(found.rows)
            verified += 1
    await writing
    assert len(heads) > 2, "nothing was written meanwhile"


async def test_constant_reads_of_a_step(database: Database) -> None:
    """However many rows, no read asks for more of them than a step has."""
    desk = Desk(database)
    account_id = await desk.account("1.00")
    for _ in range(5):
        await desk.post(account_id, *(Entry(TransactionType.BONUS, 1, "Goodwill") for _ in range(20)))
    asked: list[int] = []
    read: Callable[..., Awaitable[object]] = database.read

    async def counted(statement: object, parameters: dict[str, int] | None = None) -> object:
        rows = await read(statement, parameters)
        asked.append(len(rows))  # type: ignore[arg-type]
        return rows

    database.read = counted  # type: ignore[method-assign, assignment]
    assert (await verify_account(database, account_id)).rows == 101
    assert max(asked) == 7
