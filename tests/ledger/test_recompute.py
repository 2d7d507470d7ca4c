"""What checks the tables notices every change of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from db.database import Database, DatabaseOptions
from ledger.commands import Entry
from ledger.kinds import TransactionType
from ledger.metering import usage_posting
from ledger.windows import SpendWindow
from tests.copies import Copies
from tests.ledger.desk import (
    DAY,
    INFERENCE,
    SERVICE,
    START,
    STORAGE,
    VOLUME,
    Desk,
    api_usage,
    open_hold,
    renew,
    settle,
    usd,
)
from tests.ledger.recompute import differences, recomputed_differences
from tests.ledger.verification.filled import WEB, add_limit, spent_alone

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)

CHANGES = [
    "UPDATE accounts SET balance_nanos = balance_nanos + 1",
    "UPDATE accounts SET head_seq = head_seq - 1",
    "UPDATE accounts SET head_at = head_at + 1",
    "UPDATE accounts SET head_hash = zeroblob(32)",
    "UPDATE transactions SET amount_nanos = amount_nanos + 1 WHERE seq = 1",
    "UPDATE transactions SET balance_after_nanos = balance_after_nanos + 1 WHERE seq = 1",
    "UPDATE transactions SET created_at = created_at + 1 WHERE seq = 1",
    "UPDATE transactions SET description = 'another' WHERE seq = 1",
    "UPDATE transactions SET seq = 99 WHERE seq = 1",
    "DELETE FROM transactions WHERE seq = (SELECT max(seq) FROM transactions)",
    *(
        f"UPDATE charges SET {column} = {column} + 1 WHERE ref_type = '{kind}'"
        for column in (
            *("held_nanos", "refunded_nanos", "overage_nanos", "billed_nanos", "cycles"),
            *("first_seq", "last_seq", "opened_at"),
        )
        for kind in ("gpu_instance", "volume")
    ),
    "UPDATE charges SET closed_at = closed_at + 1 WHERE ref_type = 'gpu_instance'",
    "UPDATE charges SET closed_at = opened_at WHERE ref_type = 'volume'",
    "UPDATE charges SET state = 'open' WHERE ref_type = 'gpu_instance'",
    "UPDATE charges SET state = 'settled' WHERE ref_type = 'inference_instance'",
    "DELETE FROM charges WHERE ref_type = 'volume'",
    *(
        f"UPDATE holds SET {column} = {column} + 1 WHERE state = '{state}'"
        for column in ("cycle", "held_nanos", "period_end")
        for state in ("open", "settled")
    ),
    *(
        f"UPDATE holds SET {column} = {column} + 1 WHERE state = 'settled'"
        for column in ("used_nanos", "settled_at", "settled_seq")
    ),
    "UPDATE holds SET settled_seq = hold_seq WHERE settled_seq IS NULL",
    "UPDATE holds SET state = 'open' WHERE state = 'settled'",
    "UPDATE holds SET state = 'settled' WHERE state = 'open'",
    "UPDATE holds SET month = '2026-10'",
    "DELETE FROM holds WHERE state = 'open'",
    "UPDATE monthly_figures SET gross_nanos = gross_nanos + 1",
    "UPDATE monthly_figures SET refunded_nanos = refunded_nanos + 1",
    "UPDATE monthly_figures SET open_holds_nanos = open_holds_nanos + 1",
    "UPDATE monthly_figures SET month = '2026-10'",
    "INSERT INTO monthly_figures (account_id, month, gross_nanos) VALUES (1, '2026-10', 1)",
    "UPDATE cost_hours SET gross_nanos = gross_nanos + 1",
    "UPDATE cost_hours SET refunded_nanos = refunded_nanos + 1 WHERE ref_type = 'gpu_instance'",
    "UPDATE cost_hours SET hour = hour + 1 WHERE ref_type = 'volume'",
    "UPDATE cost_hours SET api_key = 'key-9' WHERE ref_type = 'volume'",
    "DELETE FROM cost_hours WHERE ref_type = 'api_usage'",
    *(
        f"UPDATE usage_hours SET {column} = {column} + 1"
        for column in ("calls", "input_tokens", "output_tokens", "cost_nanos", "cached_input_tokens", "units_nanos")
    ),
    "UPDATE usage_hours SET hour = hour + 24",
    "DELETE FROM usage_hours",
    "UPDATE usage_prices SET reasoning_nanos = reasoning_nanos - 1000000",
    "UPDATE request_details SET reasoning_tokens = reasoning_tokens + 1",
    "UPDATE spend_limits SET spent_nanos = spent_nanos + 1",
    "UPDATE idempotency_keys SET balance_nanos = balance_nanos + 1 WHERE first_seq <= last_seq",
    "UPDATE idempotency_keys SET balance_nanos = balance_nanos + 1 WHERE first_seq > last_seq",
    "UPDATE idempotency_keys SET first_seq = first_seq - 1 WHERE key = 'overage'",
    "UPDATE idempotency_keys SET last_seq = last_seq + 1 WHERE key = 'usage'",
    "UPDATE idempotency_keys SET created_at = created_at + 1 WHERE key = 'usage'",
]


async def _fill(database: Database) -> None:
    desk = Desk(database)
    account_id = await desk.account("100.00")
    await desk.post(account_id, open_hold(usd("1.00")), open_hold(usd("5.00"), INFERENCE), key="open")
    desk.now = START + DAY
    await desk.post(account_id, renew(usd("5.00"), usd("5.00"), 1), settle(usd("0.50")), key="renew")
    desk.now = START + 2 * DAY
    await desk.post(account_id, renew(usd("6.00"), usd("5.00"), 2), key="overage")
    drive = Entry(TransactionType.STORAGE_BILLING, -100, "Cloud drive", ref=VOLUME)
    await desk.post(account_id, drive, writer=STORAGE)
    await desk.post(account_id, api_usage(9), key="usage")
    other = await desk.account("100.00")
    await add_limit(desk, other, 1, SpendWindow.DAY)
    await add_limit(desk, other, 2, SpendWindow.TOTAL, WEB)
    batch = spent_alone(1, desk.now)
    await desk.ledger.post(usage_posting(other, SERVICE, "batch", batch, desk.now))
    await desk.post(other, open_hold(usd("1.00"), INFERENCE))
    desk.now += DAY
    await desk.post(other, settle(usd("1.00"), INFERENCE), key="even")
    for verb in ("update", "delete", "replace"):
        await desk.execute(f"DROP TRIGGER transactions_refuse_{verb}")


@pytest.fixture
async def unguarded(copies: Copies) -> AsyncIterator[Desk]:
    """A ledger with a bit of everything, whose rows may be changed."""
    url, _ = await copies.of(_fill)
    database = Database(DatabaseOptions(url))
    yield Desk(database)
    await database.close()


async def test_posted_ledger_matches_its_recomputation(unguarded: Desk) -> None:
    assert await differences(unguarded.database) == []


@pytest.mark.parametrize("change", CHANGES)
async def test_every_change_is_detected(unguarded: Desk, change: str) -> None:
    before = await unguarded.tables()
    await unguarded.execute(change)
    assert await unguarded.tables() != before, "the statement changed nothing"
    assert await recomputed_differences(unguarded.database) != []
