"""`billing-gateway verify` as operators call it, and the worker that does the same each night."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from db.database import Database
from gateway.commands.options import settings_of
from gateway.jobs import JobMetrics, Worker, build_jobs
from tests.copies import Copies
from tests.gateway.command_line import run
from tests.ledger.desk import Desk
from tests.ledger.verification.filled import Filled, filled


async def _fill(database: Database) -> Filled:
    return await filled(Desk(database))


@pytest.fixture
async def copy(copies: Copies) -> tuple[str, Filled]:
    return await copies.of(_fill)


@pytest.fixture
def database_url(copy: tuple[str, Filled]) -> str:
    return copy[0]


@pytest.fixture
async def ledger(copy: tuple[str, Filled], database: Database) -> Filled:
    return replace(copy[1], desk=Desk(database))


async def _verify(url: str, *arguments: str, status: int = 0) -> str:
    return await asyncio.to_thread(run, "verify", *arguments, url=url, status=status, output_of_failure=True)


async def test_a_ledger_that_fits(ledger: Filled, database_url: str) -> None:
    assert await _verify(database_url) == "accounts: 3, rows: 26, faults: 0\n"
    assert await _verify(database_url, "--account", f"acct_{ledger.imported}") == "accounts: 1, rows: 2, faults: 0\n"


async def test_faults_are_printed_and_the_exit_code_says_so(ledger: Filled, database_url: str) -> None:
    desk = ledger.desk
    await desk.execute(f"UPDATE accounts SET balance_nanos = 5 WHERE id = {ledger.busy}")
    await desk.execute("UPDATE idempotent_acts SET last_seq = 99")
    said = await _verify(database_url, status=1)
    lines = [line.split("\t") for line in said.splitlines()]
    busy = f"acct_{ledger.busy}"
    assert [line[:3] for line in lines[:-1]] == [[busy, "head", busy], [busy, "idempotency", "createAccount first"]]
    assert "balance_nanos is 5, expected 78499999799" in lines[0][3]
    assert lines[-1] == ["accounts: 3, rows: 26, faults: 2"]
    assert await _verify(database_url, "--account", f"acct_{ledger.imported}")


async def test_one_json_object_a_line(ledger: Filled, database_url: str) -> None:
    await ledger.desk.execute(f"UPDATE accounts SET head_seq = 1 WHERE id = {ledger.imported}")
    account = f"acct_{ledger.imported}"
    said = [json.loads(line) for line in (await _verify(database_url, "--json", status=1)).splitlines()]
    messages = [one.pop("message") for one in said[:-1]]
    assert said == [
        {"account": account, "kind": "seq", "row": f"txn_{ledger.imported}_2"},
        {"account": account, "kind": "head", "row": account},
        {"account": account, "kind": "month", "row": "2026-12"},
        {"account": account, "kind": "cost", "row": "2026-12-12T05:00:00.000000Z api_usage"},
        {"accounts": 3, "rows": 25, "faults": 4},
    ]
    assert messages[0] == "the row is newer than the head, which is at 1"


async def test_months_are_repaired(ledger: Filled, database_url: str) -> None:
    await ledger.desk.execute(f"UPDATE monthly_figures SET tokens = tokens + 1 WHERE account_id = {ledger.metered}")
    repaired = await _verify(database_url, "--repair", "months")
    account = f"acct_{ledger.metered}"
    assert repaired.splitlines() == [
        f"{account}\trepaired month\t2026-12\ttokens is 145, expected 144",
        "accounts: 3, rows: 26, faults: 0",
    ]


async def test_an_account_that_does_not_exist(database_url: str, database: object) -> None:
    said = await asyncio.to_thread(run, "verify", "--account", "acct_99", url=database_url, status=1)
    assert said == "billing-gateway: there is no account acct_99 (NOT_FOUND)\n"


async def test_the_worker_verifies_and_notes_heads(ledger: Filled, database_url: str) -> None:
    await ledger.desk.execute(f"UPDATE accounts SET balance_nanos = 5 WHERE id = {ledger.busy}")
    metrics = JobMetrics()
    settings = settings_of({"database_url": database_url, "verify_hour": 0})
    now = datetime.now(UTC) + timedelta(days=400)
    jobs = build_jobs(settings, ledger.database, None, lambda: now, report=metrics.verification.set)
    chosen = [job for job in jobs if job.name in {"checkpoints", "verification"}]
    assert await Worker(ledger.database, chosen, 1.0, metrics).once() is True
    lines = metrics.text().decode().splitlines()
    assert 'billing_worker_done_total{job="checkpoints"} 1.0' in lines
    assert "billing_verification_accounts 3.0" in lines
    assert "billing_verification_faults 1.0" in lines
    [completed] = [line for line in lines if line.startswith("billing_verification_completed_timestamp_seconds ")]
    assert float(completed.split()[1]) == pytest.approx(now.timestamp())
