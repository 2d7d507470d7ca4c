"""Whatever dies in the middle of posting: each acknowledged row is there, and nothing is half written."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from db.database import Database, DatabaseOptions, sqlite_url
from db.errors import DatabaseFull, DatabaseUnavailable
from ledger.posting import Ledger, post
from tests.ledger.desk import Desk, api_usage, open_hold, posting, settle, usd
from tests.ledger.poster import call
from tests.ledger.recompute import differences, read_tables

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("POSTING_KILLS", "3"))
ON_SQLITE = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)

Acknowledged = tuple[int, int, int, str]
"""(number of the call, account, seq, hash)"""


async def _post_and_kill(url: str, name: str, account_ids: Sequence[int], seconds: float) -> list[Acknowledged]:
    """What a process acknowledged that was killed so long after its first row."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.ledger.poster", url, name, *map(str, account_ids),
        stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert child.stdout is not None
    first = await child.stdout.readline()
    reading = asyncio.create_task(child.stdout.read())
    await asyncio.sleep(seconds)
    assert child.returncode is None
    child.kill()
    printed = first + await reading
    assert await child.wait() == -9
    # The last line may be cut off, and what isn't printed whole isn't acknowledged.
    return [tuple(json.loads(line)) for line in printed.split(b"\n")[:-1]]


async def test_killed_process_loses_no_acknowledged_row(desk: Desk, database_url: str) -> None:
    random = Random(7)
    account_ids = [await desk.account("1000.00") for _ in range(3)]
    acknowledged: list[Acknowledged] = []
    for life in range(KILLS):
        name = f"life{life}"
        printed = await _post_and_kill(database_url, name, account_ids, random.uniform(0.05, 0.4))
        acknowledged += printed
        rows = {(row.account_id, row.seq, row.hash.hex()) for row in (await desk.tables()).transactions}
        assert {line[1:] for line in acknowledged} <= rows
        assert await differences(desk.database) == []
        # Whoever was not answered sends the call again: it is carried out once, whether it was committed or not.
        sent = max(line[0] for line in printed) + 8
        for number in range(max(0, sent - 20), sent):
            await desk.ledger.post(*call(account_ids, name, number))
        for number in {line[0] for line in printed}:
            outcomes = await desk.ledger.post(*call(account_ids, name, number))
            assert all(outcome.replayed for outcome in outcomes)
    stored = await desk.tables()
    assert len({(row.account_id, row.description, row.amount_nanos) for row in stored.transactions}) > 30
    assert len(stored.charges) == len({one[2] for one in stored.calls}) == len(stored.calls) // 2
    assert await differences(desk.database) == []


@pytest.mark.parametrize(
    "backend",
    [
        "sqlite",
        "postgresql",
    ],
    indirect=True,
)
async def test_cancelled_call_is_carried_out_completely_or_not_at_all(database_url: str) -> None:
    """A client that leaves cancels its request. Neither a lock nor a connection may stay behind."""
    database = Database(DatabaseOptions(database_url, lock_timeout_seconds=2))
    desk = Desk(database)
    random = Random(11)
    account_ids = [await desk.account("1000.00") for _ in range(3)]
    for round_number in range(8):
        calls = [
            asyncio.create_task(desk.ledger.post(*call(account_ids, f"round{round_number}", number)))
            for number in range(12)
        ]
        for task in random.sample(calls, len(calls)):
            await asyncio.sleep(random.uniform(0, 0.004))
            task.cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(answer, list | asyncio.CancelledError) for answer in answers), answers
        assert await differences(desk.database) == []
    stored = await desk.tables()
    calls_by_key: dict[str, int] = {}
    for one in stored.calls:
        calls_by_key[one.key] = calls_by_key.get(one.key, 0) + 1
    assert set(calls_by_key.values()) <= {2}, "of a batch both orders are there, or none"
    for number in range(20):
        await desk.ledger.post(*call(account_ids, "after", number))
    assert await differences(database) == []
    await database.close()


# PostgreSQL


async def _terminate(desk: Desk, condition: str) -> int:
    """Ends the database's other sessions; returns how many."""
    found = await desk.database.read(
        text(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            f" WHERE datname = current_database() AND pid <> pg_backend_pid() AND {condition}"
        )
    )
    return int(found[0][0])


@ON_POSTGRESQL
async def test_connection_lost_while_waiting_for_the_account(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    before = await desk.tables()
    async with desk.database.write() as connection:
        await connection.execute(text("SELECT 1 FROM accounts FOR UPDATE"))
        waiting = asyncio.create_task(desk.post(account_id, open_hold(5), key="k"))
        for _ in range(500):
            if await _terminate(desk, "wait_event_type = 'Lock'"):
                break
            await asyncio.sleep(0.01)
        with pytest.raises(DatabaseUnavailable):
            await waiting
    assert await desk.tables() == before
    assert not (await desk.post(account_id, open_hold(5), key="k")).replayed
    assert await differences(desk.database) == []


@ON_POSTGRESQL
async def test_connection_lost_before_the_commit(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    before = await desk.tables()
    with pytest.raises(DatabaseUnavailable):
        async with desk.database.write() as connection:
            await post(connection, [posting(account_id, open_hold(5), key="k")])
            assert await _terminate(desk, "state = 'idle in transaction'") == 1
    assert await desk.tables() == before
    assert not (await desk.post(account_id, open_hold(5), key="k")).replayed
    assert await differences(desk.database) == []


@ON_POSTGRESQL
async def test_connections_lost_at_random_times(desk: Desk) -> None:
    account_ids = [await desk.account("1000.00") for _ in range(3)]
    numbers = itertools.count()
    answered: list[int] = []
    refused = 0

    async def write() -> None:
        nonlocal refused
        for number in numbers:
            # A busy machine may take a while to end a connection at a moment that it is used.
            if number >= (400 if refused else 10_000):
                return
            try:
                await desk.ledger.post(*call(account_ids, "ended", number))
                answered.append(number)
            except DatabaseUnavailable:
                refused += 1

    writers = asyncio.gather(*(write() for _ in range(8)))
    while not writers.done():
        await asyncio.sleep(0.05)
        try:
            await _terminate(desk, "state <> 'idle'")
        except DatabaseUnavailable:
            refused += 1
    await writers
    assert refused > 0
    assert len(answered) > 0
    assert {f"ended-{number}" for number in answered} <= {one.key for one in (await read_tables(desk.database)).calls}
    for number in answered:
        assert all(outcome.replayed for outcome in await desk.ledger.post(*call(account_ids, "ended", number)))
    assert await differences(desk.database) == []


# SQLite


@ON_SQLITE
async def test_full_disk_keeps_the_ledger_consistent(desk: Desk, database_url: str) -> None:
    account_ids = [await desk.account("1000.00") for _ in range(2)]
    crowded = Database(DatabaseOptions(database_url))
    pages = int((await crowded.read(text("PRAGMA page_count")))[0][0])
    await crowded.close()

    @event.listens_for(crowded.engine.sync_engine, "connect")
    def prepare(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        connection.cursor().execute(f"PRAGMA max_page_count = {pages + 12}")

    ledger = Ledger(crowded)
    number = 0
    with pytest.raises(DatabaseFull):
        for number in range(1000):
            await ledger.post(*call(account_ids, "full", number))
    assert number > 0
    full = await read_tables(crowded)
    assert {one.key for one in full.calls} == {f"full-{one}" for one in range(number)}
    for _ in range(3):
        with pytest.raises(DatabaseFull):
            await ledger.post(*call(account_ids, "full", number))
    assert await read_tables(crowded) == full
    await crowded.close()
    assert await differences(desk.database) == []
    outcomes = await desk.ledger.post(*call(account_ids, "full", number))
    assert not any(outcome.replayed for outcome in outcomes)
    assert await differences(desk.database) == []


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@ON_SQLITE
async def test_database_locked_by_another_process(desk: Desk, tmp_path: Path) -> None:
    account_id = await desk.account("10.00")
    before = await desk.tables()
    path = tmp_path / "billing.db"
    impatient = Database(DatabaseOptions(sqlite_url(path), lock_timeout_seconds=0.1))
    patient = Database(DatabaseOptions(sqlite_url(path), lock_timeout_seconds=10))
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, str(path), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"locked\n"
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable, match="SQLITE_BUSY"):
            await Ledger(impatient).post(posting(account_id, open_hold(5)))
    assert await desk.tables() == before
    waiting = asyncio.create_task(Ledger(patient).post(posting(account_id, open_hold(5))))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    holder.stdin.close()
    assert [len(outcome.transactions) for outcome in await waiting] == [1]
    await holder.wait()
    outcomes = await Ledger(impatient).post(posting(account_id, settle(4)))
    assert outcomes[0].balance_nanos == usd("10.00") - 4
    await impatient.close()
    await patient.close()
    assert await differences(desk.database) == []


@ON_SQLITE
async def test_two_processes_write_to_one_file(desk: Desk, database_url: str) -> None:
    """Each database object has a queue of its own, so these meet in the file's lock alone."""
    account_id = await desk.account("10.00")
    other = Database(DatabaseOptions(database_url))
    ledgers = [desk.ledger, Ledger(other)]
    await asyncio.gather(*(ledger.post(posting(account_id, api_usage(1))) for _ in range(40) for ledger in ledgers))
    await other.close()
    assert len(await desk.rows(account_id)) == 81
    assert await differences(desk.database) == []


@ON_SQLITE
async def test_file_passes_the_integrity_check_after_a_kill(desk: Desk, database_url: str, tmp_path: Path) -> None:
    account_ids = [await desk.account("10.00") for _ in range(2)]
    await _post_and_kill(database_url, "sound", account_ids, 0.1)
    with closing(sqlite3.connect(tmp_path / "billing.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
