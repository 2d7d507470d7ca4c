from __future__ import annotations

import inspect
import shutil
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeVar

import pytest
from sqlalchemy import Table, select

from db import tables
from db.attribution_rows import UsageHourRow
from db.attribution_tables import usage_hours
from db.database import Database, DatabaseOptions, sqlite_url
from db.hours import hour_of
from db.rows import AccountRow, HoldRow, MonthlyFiguresRow, TransactionRow, UsageDayRow
from db.statements import columns
from demo import enterprise
from demo.callers import DEVELOPER as DEVELOPER_CALLERS
from demo.callers import ENTERPRISE as ENTERPRISE_CALLERS
from demo.callers import INFERENCE as INFERENCE_CALLERS
from demo.calls import UsageDays
from demo.story import tell
from ledger.account_state import month_of
from ledger.chain import GENESIS, row_hash
from ledger.kinds import UsageCategory
from ledger.money import NANOS
from tests.doses import dose
from tests.ledger.recompute import differences

ROWS = dose(1_000, 3_000)
DEVELOPER, INFERENCE, ENTERPRISE = range(3)

MIDDLE_OF_MONTH = datetime(2026, 11, 23, 16, 2, 40, 123_456, tzinfo=UTC)
NIGHT_OF_THE_FIRST = datetime(2026, 3, 1, 0, 6, 30, tzinfo=UTC)
FIRST_SECOND_OF_YEAR = datetime(2027, 1, 1, 0, 0, 1, tzinfo=UTC)

Row = TypeVar("Row", bound=NamedTuple)
_AUDIT = tables.audit_entries


@dataclass(frozen=True)
class Told:
    now: datetime
    accounts: list[AccountRow]
    transactions: list[list[TransactionRow]]
    """Of each account, oldest first; the others likewise."""
    usage_days: list[list[UsageDayRow]]
    holds: list[list[HoldRow]]
    months: list[list[MonthlyFiguresRow]]
    acts: list[tuple[str, str]]
    """Name and actor of each entry of the audit list."""
    differences: list[str]
    """Between what is stored and a recount."""
    hours: list[list[UsageHourRow]]

    def kinds(self, account: int) -> set[tuple[str, str]]:
        return {(row.type, row.source) for row in self.transactions[account]}

    def this_month(self, account: int) -> MonthlyFiguresRow:
        return self.months[account][-1]


async def _rows(database: Database, table: Table, row_type: type[Row], account_id: int) -> list[Row]:
    chosen = select(*columns(table, row_type)).where(table.c.account_id == account_id)
    return [row_type(*row) for row in await database.read(chosen.order_by(*table.primary_key.columns))]


async def _told(path: Path, now: datetime) -> Told:
    database = Database(DatabaseOptions(sqlite_url(path)))
    try:
        ids = (await tell(database, now, ROWS)).account_ids
        accounts = select(*columns(tables.accounts, AccountRow)).order_by(tables.accounts.c.id)
        return Told(
            now,
            [AccountRow(*row) for row in await database.read(accounts)],
            [await _rows(database, tables.transactions, TransactionRow, one) for one in ids],
            [await _rows(database, tables.usage_days, UsageDayRow, one) for one in ids],
            [await _rows(database, tables.holds, HoldRow, one) for one in ids],
            [await _rows(database, tables.monthly_figures, MonthlyFiguresRow, one) for one in ids],
            [tuple(row) for row in await database.read(select(_AUDIT.c.act, _AUDIT.c.actor).order_by(_AUDIT.c.id))],
            await differences(database),
            [await _rows(database, usage_hours, UsageHourRow, one) for one in ids],
        )
    finally:
        await database.close()


# Of the real now, which is mostly a day in the middle of a month, tests/gateway/test_commands.py makes a demo.
MOMENTS = [NIGHT_OF_THE_FIRST, FIRST_SECOND_OF_YEAR, MIDDLE_OF_MONTH][: dose(1, 3)]


@pytest.fixture(scope="module", params=MOMENTS, ids=str)
async def told(request: pytest.FixtureRequest, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    path = tmp_path_factory.mktemp("story") / "billing.db"
    shutil.copy(sqlite_template, path)
    return await _told(path, request.param)


@pytest.mark.parametrize("told", [NIGHT_OF_THE_FIRST], indirect=True, ids=str)
async def test_the_same_now_tells_the_same_story(told: Told, sqlite_template: Path, tmp_path: Path) -> None:
    shutil.copy(sqlite_template, tmp_path / "billing.db")
    assert await _told(tmp_path / "billing.db", told.now) == told


def test_accounts_stand_in_the_order_of_the_story(told: Told) -> None:
    assert [(one.external_id, one.name) for one in told.accounts] == [
        ("demo-developer", "Developer sandbox"),
        ("demo-inference", "Inference product"),
        ("demo-enterprise", "Enterprise fleet"),
    ]
    assert [rows[0].account_id for rows in told.transactions] == [one.id for one in told.accounts]


def test_rows_add_up_and_are_chained(told: Told) -> None:
    for account, rows in zip(told.accounts, told.transactions, strict=True):
        balance, digest, time = 0, GENESIS, account.created_at
        for seq, row in enumerate(rows, 1):
            balance += row.amount_nanos
            digest = row_hash(digest, row)
            assert (row.seq, row.balance_after_nanos, row.hash) == (seq, balance, digest)
            assert balance > 0
            assert time <= row.created_at <= told.now
            time = row.created_at
        assert account[6:] == (len(rows), time, digest, balance)


def test_a_recount_finds_what_is_stored(told: Told) -> None:
    assert told.differences == []


def test_actions_of_operators_in_the_story_are_noted(told: Told) -> None:
    acts = ["createAccount"] * 3 + ["correctBalance"] * 2 + ["grantContract"]
    assert told.acts == [(act, "demo") for act in acts]


def test_the_story_ends_now(told: Told) -> None:
    for rows, days, months in zip(told.transactions, told.usage_days, told.months, strict=True):
        assert told.now - rows[-1].created_at < timedelta(minutes=30)
        assert month_of(rows[-1].created_at) == months[-1].month == month_of(told.now)
        assert told.now.date() - days[-1].day <= timedelta(days=1)


def test_each_account_has_calls_today_once_the_day_has_begun(told: Told) -> None:
    begun = told.now.hour * 60 + told.now.minute >= 2
    for account, days in enumerate(told.usage_days):
        today = {day.origin for day in days if day.day == told.now.date()}
        assert bool(today) == begun
        assert (told.this_month(account).platform_calls > 0) == begun


def test_something_is_held_for_what_runs_now(told: Told) -> None:
    for account, holds in enumerate(told.holds):
        of_this_month = [hold for hold in holds if hold.state == "open" and hold.month == month_of(told.now)]
        assert of_this_month
        assert told.this_month(account).open_holds_nanos == sum(hold.held_nanos for hold in of_this_month)


def test_api_usage_rows_come_to_the_cost_of_the_platform_calls_of_each_day(told: Told) -> None:
    for rows, days in zip(told.transactions, told.usage_days, strict=True):
        charged: defaultdict[date, int] = defaultdict(int)
        for row in rows:
            if row.ref_type == "api_usage":
                assert row.period_start is not None
                charged[row.period_start.date()] -= row.amount_nanos
        cost: defaultdict[date, int] = defaultdict(int)
        for day in days:
            if day.origin == "platform":
                cost[day.day] += day.cost_nanos
            assert (day.cost_nanos > 0) == (day.origin == "platform")
        assert charged == cost


def test_descriptions_cite_what_they_are_about(told: Told) -> None:
    names = {
        "gpu_instance": "GPU Instance #{}: ",
        "inference_instance": "Inference Instance #{}: ",
        "volume": "Cloud drive #{} on ",
        "shared_filesystem": "Shared filesystem #{} on ",
        "stripe_checkout_session": "Stripe Checkout session {}",
        "stripe_payment_intent": "Stripe payment {}",
        "stripe_refund": "Stripe refund {} ",
        "stripe_invoice": "Stripe invoice {}",
        "contract": "Enterprise contract {}",
    }
    for rows in told.transactions:
        for row in rows:
            if row.ref_type in names:
                assert names[row.ref_type].format(row.ref_id) in row.description


def test_the_developer_tries_things_out(told: Told) -> None:
    rows = told.transactions[DEVELOPER]
    assert told.kinds(DEVELOPER) == {
        ("bonus", "promotion"),
        ("topup", "stripe_webhook"),
        ("gpu_usage", "metering"),
        ("refund", "metering"),
    }
    assert 300 <= len(rows) <= 800
    assert timedelta(days=115) < rows[-1].created_at - rows[0].created_at < timedelta(days=130)
    holds = [row for row in rows if row.ref_type == "gpu_instance" and ": hold per-GPU × " in row.description]
    assert [row.seq for row in holds] == [hold.hold_seq for hold in told.holds[DEVELOPER]]
    used = [(hold.used_nanos, hold.held_nanos) for hold in told.holds[DEVELOPER]]
    assert {(used > held) - (used < held) for used, held in used if used is not None} == {-1, 0, 1}
    assert {row.ref_type for row in rows} == {"promotion", "stripe_checkout_session", "gpu_instance", "api_usage"}


def test_the_inference_account_has_everything(told: Told) -> None:
    rows = told.transactions[INFERENCE]
    assert told.kinds(INFERENCE) == {
        ("bonus", "promotion"),
        ("topup", "stripe_webhook"),
        ("auto_recharge", "stripe_webhook"),
        ("gpu_usage", "metering"),
        ("storage_billing", "storage_worker"),
        ("refund", "metering"),
        ("refund", "stripe_webhook"),
        ("admin_correction", "admin_correction"),
    }
    assert len(rows) >= 1_100
    assert {day.category for day in told.usage_days[INFERENCE]} == {one.value for one in UsageCategory}
    assert {day.origin for day in told.usage_days[INFERENCE]} == {"platform", "user_inference"}
    assert max(hold.cycle for hold in told.holds[INFERENCE]) >= 90


def test_recharges_follow_where_the_balance_fell_below_the_threshold(told: Told) -> None:
    rows = told.transactions[INFERENCE]
    for before, row in pairwise(rows):
        if row.type == "auto_recharge":
            assert before.balance_after_nanos < 200 * NANOS <= row.balance_after_nanos


def test_a_card_refund_names_its_charge_and_is_taken_off_again(told: Told) -> None:
    rows = told.transactions[INFERENCE]
    refund = next(row for row in rows if (row.type, row.source) == ("refund", "stripe_webhook"))
    paid = rows[(refund.corrects_seq or 0) - 1]
    correction = next(row for row in rows if row.type == "admin_correction" and row.amount_nanos < 0)
    assert (paid.type, paid.amount_nanos) == ("topup", refund.amount_nanos)
    assert correction.corrects_seq == refund.seq
    assert refund.ref_id is not None
    assert refund.ref_id in correction.description
    assert paid.amount_nanos + refund.amount_nanos + correction.amount_nanos == 0


def test_a_correction_gives_back_what_a_cycle_was_charged_wrongly(told: Told) -> None:
    rows = told.transactions[INFERENCE]
    correction = next(row for row in rows if row.type == "admin_correction" and row.amount_nanos > 0)
    held = rows[(correction.corrects_seq or 0) - 1]
    assert "Inference Instance #42: hold per-GPU × 1 GPU × 24h, cycle 70 " in held.description
    assert "in cycle 70: 3h × 1 GPU × $2.49/h" in correction.description
    assert correction.amount_nanos == 7_470_000_000


def test_the_enterprise_lives_on_its_contract(told: Told) -> None:
    rows = told.transactions[ENTERPRISE]
    assert len(rows) == ROWS
    assert told.kinds(ENTERPRISE) == {
        ("contract_grant", "contract"),
        ("contract_grant", "stripe_webhook"),
        ("bonus_grant", "contract"),
        ("bonus_grant", "stripe_webhook"),
        ("gpu_usage", "metering"),
        ("refund", "metering"),
    }
    assert rows[1].description == (
        "Enterprise contract EC-2041: $150k contract → $180k total credit, with $30k as bonus_grant"
    )
    assert len(told.months[ENTERPRISE]) >= 13
    assert len({day.model for day in told.usage_days[ENTERPRISE]}) == 9


def test_the_enterprise_has_100_000_rows_and_stays_above_zero() -> None:
    assert inspect.signature(tell).parameters["enterprise_rows"].default == 100_000
    scenes = enterprise.scenes(Random(1), UsageDays(3, ENTERPRISE_CALLERS), MIDDLE_OF_MONTH, 100_000)
    rows = balance = 0
    last: datetime | None = None
    for scene in scenes:
        assert last is None or last <= scene.at <= MIDDLE_OF_MONTH
        rows, balance, last = rows + scene.rows, balance + scene.change_nanos, scene.at
        assert balance > 10_000 * NANOS
    assert rows == 100_000


def test_newest_days_name_hours_keys_projects_and_prices(told: Told) -> None:
    since = hour_of(told.now - timedelta(days=35)) // 24 * 24
    for callers, hours in zip((DEVELOPER_CALLERS, INFERENCE_CALLERS, ENTERPRISE_CALLERS), told.hours, strict=True):
        newest = [row for row in hours if row.hour >= since]
        assert {(row.api_key, row.project) for row in newest} == set(callers)
        for row in newest:
            assert row.span_hours == 1
            assert (row.price_id > 0) == (row.origin == "platform")
        assert sum(row.cached_input_tokens for row in newest) > 0
        assert {(row.span_hours, row.api_key) for row in hours if row.hour < since} == {(24, "")}
    assert sum(row.reasoning_tokens for hours in told.hours for row in hours) > 0
    spenders = {row.project for row in told.transactions[INFERENCE] if row.ref_type == "inference_instance"}
    assert spenders == {"assistant", "search", None}
