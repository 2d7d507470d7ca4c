"""What the metrics tell of the database: pools, waits, locks, rows, and whether the server answers."""

from __future__ import annotations

import asyncio
import re

import pytest
from sqlalchemy import Integer, text

from db.errors import DatabaseUnavailable
from tests.gateway.mutations.office import Office, opened
from tests.postgres import Postgres
from tests.replica import not_from_replica

_ONE = text("SELECT 1").columns(one=Integer)


async def _metrics(office: Office) -> dict[str, float]:
    async with office.session.get(f"{office.url}/metrics") as response:
        lines = re.findall(r"^(billing_(?:database|rows|lock)\S+) (\S+)$", await response.text(), re.MULTILINE)
    return {name: float(value) for name, value in lines if "_created" not in name}


@not_from_replica
async def test_pools_and_rows_are_told_of(database_url: str) -> None:
    async with opened(database_url, pool_size=2) as office:
        before = await _metrics(office)
        account = await office.account("1.00")
        for _ in range(3):
            await office.call("correctBalance", accountId=account, amount="1.00", description="For a test")
        database = office.services.database
        async with database.write(), database.snapshot() as one, database.snapshot() as other:
            for snapshot in (one, other):
                await snapshot.rows(_ONE)
            waiting = asyncio.create_task(database.read(_ONE))
            await asyncio.sleep(0.05)
            now = await _metrics(office)
        await waiting
        after = await _metrics(office)
    assert now["billing_rows_posted_total"] - before["billing_rows_posted_total"] == 4
    assert now["billing_database_reachable"] == 1
    assert now['billing_database_connections{pool="read",state="lent"}'] == 2
    assert now['billing_database_connections{pool="write",state="lent"}'] == 1
    assert now['billing_database_waiting{pool="read"}'] == 1
    assert after['billing_database_waiting{pool="read"}'] == 0
    assert after['billing_database_waits_total{pool="read"}'] - now['billing_database_waits_total{pool="read"}'] == 1
    assert after['billing_database_wait_seconds_total{pool="read"}'] > 0
    assert after['billing_database_connections{pool="read",state="lent"}'] == 0


@not_from_replica
@pytest.mark.parametrize("backend", ["postgresql"])
async def test_waits_for_locked_accounts_are_told_of(database_url: str, backend: str) -> None:
    async with opened(database_url) as office:
        account = await office.account("1.00")
        before = await _metrics(office)
        async with office.services.database.write() as connection:
            await connection.execute(text("SELECT id FROM accounts FOR UPDATE"))
            call = asyncio.create_task(
                office.call("setVolume", accountId=account, refType="VOLUME", refId="v", gib=1, pricePerGibDay="1")
            )
            await asyncio.sleep(0.5)
        await call
        after = await _metrics(office)
    assert after["billing_lock_waits_total"] > before["billing_lock_waits_total"]
    assert after["billing_lock_wait_seconds_total"] > before["billing_lock_wait_seconds_total"]


async def test_a_server_that_does_not_answer_is_told_of(postgres_server: Postgres, postgresql_url: str) -> None:
    async with opened(postgresql_url) as office:
        assert (await _metrics(office))["billing_database_reachable"] == 1
        with postgres_server.frozen():
            with pytest.raises(DatabaseUnavailable):
                await office.services.database.read(_ONE)
            found = await _metrics(office)
    assert found["billing_database_reachable"] == 0
    assert found["billing_database_connections_lost_total"] > 0
