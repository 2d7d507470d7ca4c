"""Statements of accounts: figures of periods, compared with the rows in plain Python."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.attribution_rows import CostHourRow
from db.database import Database
from db.rows import TransactionRow
from ledger.errors import BadUserInput
from ledger.kinds import CostKind, RefType, TransactionSource, TransactionType
from resolvers.context import QueryContext
from resolvers.pages import ALL
from resolvers.reads import statements
from resolvers.reads.closed_times import SETTLING
from resolvers.reads.statements import Movement, MovementKind
from tests.doses import dose
from tests.hour_rows import insert_hours
from tests.ledger_rows import insert_transactions, update_account
from tests.resolvers.ledgers import DRAFTS, NOW, RowDraft, new_account, principal, rows_of

FIRST: Final = date(2026, 3, 1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS: Final = st.integers(-3, 12)


def _kind_of(row: TransactionRow) -> MovementKind:
    if _is_cost(row):
        return MovementKind(row.ref_type if row.ref_type in list(CostKind) else CostKind.OTHER)
    names = {"topup": "top_up", "refund": "payment_refund", "admin_correction": "correction"}
    return MovementKind(names.get(row.type, row.type))


def _is_cost(row: TransactionRow) -> bool:
    is_returned = (row.type, row.source) == (TransactionType.REFUND, TransactionSource.METERING)
    return is_returned or row.type in (TransactionType.GPU_USAGE, TransactionType.STORAGE_BILLING)


def _hours(rows: list[TransactionRow]) -> list[CostHourRow]:
    """Adds up cost by hour, as posting does."""
    gross: Counter[tuple[int, str, str]] = Counter()
    refunded: Counter[tuple[int, str, str]] = Counter()
    for row in filter(_is_cost, rows):
        key = (int((row.created_at - _EPOCH) / timedelta(hours=1)), row.ref_type or "", row.ref_id or "")
        (refunded if row.amount_nanos > 0 else gross)[key] += abs(row.amount_nanos)
    keys = gross.keys() | refunded.keys()
    return [CostHourRow(rows[0].account_id, *key, "", "", gross[key], refunded[key]) for key in sorted(keys)]


async def _ledger(database: Database, drafts: list[RowDraft], hours: list[int]) -> tuple[int, list[TransactionRow]]:
    """A new account whose rows are some hours apart, and the rows, oldest first."""
    account = await new_account(database)
    rows, at = [], datetime(2026, 3, 1, tzinfo=UTC)
    for row, later in zip(rows_of(account.id, drafts), hours, strict=True):
        at += timedelta(hours=later)
        rows.append(row._replace(created_at=at))
    if rows:
        last = rows[-1]
        head = account._replace(
            head_seq=last.seq, head_at=at, head_hash=bytes(32), balance_nanos=last.balance_after_nanos
        )
        async with database.write() as connection:
            await insert_transactions(connection, rows)
            await update_account(connection, head)
        await insert_hours(database, _hours(rows))
    return account.id, rows


def _moved(rows: list[TransactionRow]) -> dict[MovementKind, Movement]:
    found: dict[MovementKind, Movement] = {}
    for row in rows:
        kind = _kind_of(row)
        is_returned = _is_cost(row) and row.amount_nanos > 0
        old = found.get(kind, Movement(kind, 0))
        gross = old.gross_nanos + (0 if is_returned else row.amount_nanos)
        found[kind] = Movement(kind, gross, old.refunded_nanos + (row.amount_nanos if is_returned else 0))
    return {kind: one for kind, one in found.items() if one != Movement(kind, 0)}


@settings(
    max_examples=dose(7, 25),
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data(), drafts=st.lists(DRAFTS, max_size=25))
async def test_opening_and_movements_are_closing(
    ledgers: Database, data: st.DataObject, drafts: list[RowDraft]
) -> None:
    """Midnight is drawn often: the first moment of a day is in it, and not in the day before."""
    hours = data.draw(st.lists(st.sampled_from([0, 1, 7, 24]), min_size=len(drafts), max_size=len(drafts)))
    account_id, rows = await _ledger(ledgers, drafts, hours)
    start, days = data.draw(_DAYS), data.draw(st.integers(1, 15))
    period = statements.period_of(FIRST + timedelta(start), FIRST + timedelta(start + days))
    begin, end = period.times
    before = [row for row in rows if row.created_at < begin]
    within = [row for row in rows if begin <= row.created_at < end]
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        account = await context.loaders.account.load(account_id)
        assert account is not None
        found = statements.Statement(account, period)
        ends, moved = await statements.ends(context, found), await statements.movements(context, found)
        page = await statements.rows(context, found, ALL, first=1000)
    assert ends.opening_nanos == (before[-1].balance_after_nanos if before else 0)
    assert ends.opening_nanos + sum(one.net_nanos for one in moved) == ends.closing_nanos
    assert list(page.rows) == within[::-1]
    assert ends.closing_seq - ends.opening_seq == len(within)
    expected = _moved(within)
    assert moved == [expected[kind] for kind in MovementKind if kind in expected]


async def test_a_period_is_final_once_no_row_can_be_in_it(ledgers: Database) -> None:
    volume = (RefType.VOLUME, "v-1")
    kind = (TransactionType.STORAGE_BILLING, TransactionSource.STORAGE_WORKER)
    account_id, _ = await _ledger(ledgers, [RowDraft(kind, 1, True, 0, volume, "Storage")], [24])
    today = NOW.date()
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        account = await context.loaders.account.load(account_id)
        assert account is not None

        def final(to_day: date, now: datetime = NOW) -> bool:
            context.now = now
            return statements.is_final(context, statements.statement(account, FIRST, to_day))

        midnight = datetime(2026, 3, 2, tzinfo=UTC)
        # The row at midnight is after the period, so no later one is in it, whatever the clock says.
        assert final(date(2026, 3, 2), midnight)
        assert not final(today + timedelta(1))
        tomorrow = datetime(today.year, today.month, today.day, tzinfo=UTC) + timedelta(1)
        assert not final(today + timedelta(1), tomorrow + SETTLING - timedelta(microseconds=1))
        assert final(today + timedelta(1), tomorrow + SETTLING)


@pytest.mark.parametrize(
    ("days", "message"),
    [
        (0, "the period is empty: to must be after from; the day of to is not part of the period"),
        (-1, "the period is empty: to must be after from; the day of to is not part of the period"),
        (367, "a statement covers at most 366 days, not 367"),
    ],
)
def test_a_period_that_is_empty_or_too_long_is_refused(days: int, message: str) -> None:
    with pytest.raises(BadUserInput) as refused:
        statements.period_of(FIRST, FIRST + timedelta(days))
    assert str(refused.value) == message
    assert statements.period_of(date(9999, 12, 30), date(9999, 12, 31)).times[1].year == 9999
