"""The worker as operators run it: processes of their own, killed at will."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientSession

from db.database import Database
from ledger.commands import Ref
from ledger.kinds import RefType
from ledger.recharges import RechargeSettings, put_settings
from ledger.stripe.events import StripeEvents
from ledger.volumes import VolumeRate, set_volume
from tests.doses import dose
from tests.gateway.command_line import run
from tests.gateway.test_commands import ROOT, _command, run_process
from tests.ledger.desk import Desk, open_hold, usd
from tests.ledger.recompute import differences
from tests.ledger.stripe.attempts import attempts_of
from tests.ledger.stripe.till import CUSTOMER
from tests.ports import free_port
from tests.stripe_objects import body, event, session
from tests.stripe_stand_in import StandIn, settings, standing_in

PATIENCE = 60.0


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await is_so():  # noqa: ASYNC110  what is waited for is another process's
            await asyncio.sleep(0.05)


class Workers:
    def __init__(self, url: str, environment: dict[str, str] | None = None) -> None:
        self._environment = {
            "BILLING_DATABASE_URL": url,
            "BILLING_WORKER_INTERVAL_SECONDS": "0.1",
            # Just after midnight, a day that has ended would wait longer than a test.
            "BILLING_SETTLEMENT_DELAY_SECONDS": "0",
            **(environment or {}),
        }
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            _command("worker", *arguments),
            env=os.environ | self._environment,
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    @staticmethod
    def kill(process: subprocess.Popen[str]) -> None:
        process.kill()
        process.communicate()

    async def ended(self, process: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]]]:
        """Its exit code after SIGTERM, and what it logged."""
        process.send_signal(signal.SIGTERM)
        _, logged = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
        return process.returncode, [json.loads(line) for line in logged.splitlines()]


@pytest.fixture
def workers(database_url: str) -> Iterator[Workers]:
    made = Workers(database_url)
    yield made
    for process in made.processes:
        if process.poll() is None:
            made.kill(process)


class Shop(Desk):
    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.now = datetime.now(UTC)
        self.today = self.now.replace(hour=0, minute=0, second=0, microsecond=0)

    async def volumes(self, account_id: int, count: int, days: int) -> None:
        """That have been there for so many whole days."""
        async with self.database.write() as connection:
            for number in range(count):
                since = self.today - timedelta(days=days)
                rate = VolumeRate(Ref(RefType.VOLUME, f"v-{number}"), 100, usd("0.01"), since)
                await set_volume(connection, account_id, rate, self.now)

    async def row_count(self, account_id: int) -> int:
        return len(await self.rows(account_id))


@pytest.fixture
def shop(database: Database) -> Shop:
    return Shop(database)


async def test_once_does_what_there_is_to_do(shop: Shop, database_url: str) -> None:
    account_id = await shop.account("100.00")
    await shop.volumes(account_id, 2, 3)
    await shop.post(account_id, open_hold(usd("1.00")))
    for _ in range(2):
        await asyncio.to_thread(run_process, "worker", "--once", "--settlement-delay-seconds", "0", url=database_url)
    rows = await shop.rows(account_id)
    assert [row.type for row in rows] == ["admin_correction", "gpu_usage", *["storage_billing"] * 6]
    # Its time is that of the desk's clock, long over.
    assert (await shop.charge(account_id)).state == "expired"
    assert await differences(shop.database) == []


async def test_a_tables_version_that_does_not_fit_is_said(tmp_path: Any) -> None:
    said = await asyncio.to_thread(run_process, "worker", "--once", url=f"sqlite:///{tmp_path}/new.db", status=1)
    assert "run `billing-gateway migrate`" in said


async def test_the_worker_ends_at_sigterm_and_reports(shop: Shop, workers: Workers) -> None:
    account_id = await shop.account("100.00")
    await shop.volumes(account_id, 1, 2)
    port = str(free_port())
    process = workers.start("--worker-metrics-port", port, "--settlement-delay-seconds", "0")

    async def is_done() -> bool:
        return await shop.row_count(account_id) == 3

    await until(is_done)
    async with ClientSession() as client:
        async with client.get(f"http://127.0.0.1:{port}/healthz") as answer:
            assert answer.status == 200

        async def is_counted() -> bool:
            async with client.get(f"http://127.0.0.1:{port}/metrics") as answer:
                return 'billing_worker_done_total{job="storage"} 2.0' in await answer.text()

        await until(is_counted)
    status, logged = await workers.ended(process)
    assert status == 0
    done = [(one["job"], one["done"]) for one in logged if one["event"] == "job done"]
    # Whether verification is due depends on the hour.
    assert {one for one in done if one[0] != "verification"} == {("storage", 2), ("checkpoints", 1)}


async def test_one_of_two_workers_works_and_the_other_takes_over(shop: Shop, workers: Workers) -> None:
    account_id = await shop.account("100.00")
    await shop.volumes(account_id, 1, 1)
    first = workers.start()

    async def billed_once() -> bool:
        return await shop.row_count(account_id) == 2

    await until(billed_once)
    second = workers.start()
    third = await asyncio.to_thread(run_process, "worker", "--once", url=workers._environment["BILLING_DATABASE_URL"])
    assert third == ""
    workers.kill(first)
    other = await shop.account("100.00")
    await shop.volumes(other, 1, 1)

    async def taken_over() -> bool:
        return await shop.row_count(other) == 2

    await until(taken_over)
    status, logged = await workers.ended(second)
    assert status == 0
    assert [one["event"] for one in logged if "working" in one["event"]] == ["working"]


async def test_killed_again_and_again_it_bills_each_day_once(shop: Shop, workers: Workers) -> None:
    """Two at a time, either of which is killed with -9 in the middle of its work."""
    account_ids = [await shop.account("1000.00") for _ in range(3)]
    volumes = dose(100, 250)
    for account_id in account_ids:
        await shop.volumes(account_id, volumes, 2)
    wanted = 3 * volumes * 2 + 3

    async def rows() -> int:
        return len((await shop.tables()).transactions)

    for _ in range(4):
        before = await rows()
        pair = [workers.start(), workers.start()]
        if before < wanted:

            async def has_moved(before: int = before) -> bool:
                return await rows() > before

            await until(has_moved)
        for process in pair:
            workers.kill(process)
    last = workers.start()

    async def is_done() -> bool:
        return await rows() == wanted

    await until(is_done)
    workers.kill(last)
    stored = await shop.tables()
    billed = [(row.account_id, row.ref_id, row.period_start) for row in stored.transactions if row.ref_id]
    assert len(set(billed)) == len(billed) == wanted - 3
    assert await differences(shop.database) == []


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    async with standing_in() as one:
        yield one


async def _low_account(shop: Shop, stand_in: StandIn) -> int:
    account_id = await shop.account("1.00")
    await StripeEvents(shop.database, shop.ledger).link(account_id, CUSTOMER)
    stand_in.customers[CUSTOMER] = {"id": CUSTOMER, "object": "customer", "invoice_settings": {}}
    stand_in.cards[CUSTOMER] = ["pm_1"]
    async with shop.database.write() as connection:
        given = RechargeSettings(usd("10.00"), usd("25.00"), usd("100.00"))
        await put_settings(connection, account_id, given, shop.now)
    return account_id


async def _bring_forward(shop: Shop) -> None:
    """As if the time to try again had come."""
    zero = "'1970-01-02T00:00:00Z'" if shop.database.is_postgresql else "86400000000"
    await shop.execute(f"UPDATE recharge_attempts SET retry_at = {zero}")


@pytest.mark.parametrize("fault", ["hangs", "hangs_afterwards"])
async def test_killed_while_stripe_is_called_the_card_is_charged_once(
    shop: Shop, workers: Workers, stand_in: StandIn, fault: Any
) -> None:
    account_id = await _low_account(shop, stand_in)
    given = settings(stand_in, stripe_timeout_seconds=30)
    workers._environment |= {f"BILLING_{name.upper()}": str(value) for name, value in given.items()}
    stand_in.faults_of_payments = [fault]
    first = workers.start()

    async def is_asked() -> bool:
        return len(stand_in.asked_for("/v1/payment_intents")) == 1

    await until(is_asked)
    workers.kill(first)
    await _bring_forward(shop)
    second = workers.start()

    async def is_submitted() -> bool:
        (attempt,) = await attempts_of(shop.database, account_id)
        return attempt.state == "submitted"

    await until(is_submitted)
    (attempt,) = await attempts_of(shop.database, account_id)
    assert [one.key for one in stand_in.asked_for("/v1/payment_intents")] == [attempt.id] * 2
    assert stand_in.charged() == {attempt.id: 2_500}
    assert (await workers.ended(second))[0] == 0


async def test_stripe_s_customers_and_events_from_the_shell(shop: Shop, database_url: str) -> None:
    async def said(*arguments: str, status: int = 0) -> str:
        return await asyncio.to_thread(run, "stripe", *arguments, url=database_url, status=status)

    await shop.account()
    told = event("checkout.session.completed", session("cs_1", customer="cus_9"))
    for event_id in ("evt_9", "evt_8"):
        await StripeEvents(shop.database, shop.ledger).receive(body(told | {"id": event_id}))
    listed = await said("events", "--state", "waiting")
    assert {line.split("\t")[0] for line in listed.splitlines()} == {"evt_8", "evt_9"}
    assert "the customer cus_9 is not linked to an account: link the customer" in listed
    assert await said("dismiss", "evt_8", "--reason", "twice") == "evt_8 is dismissed\n"
    assert await said("link", "acct_1", "cus_9") == "cus_9 is linked to acct_1; 1 events were waiting for it\n"
    states = [line.split("\t")[3:5] for line in (await said("events")).splitlines()]
    assert sorted(states) == [["applied", "acct_1"], ["ignored", ""]]
    assert "(NOT_FOUND)" in await said("link", "acct_7", "cus_9", status=1)
