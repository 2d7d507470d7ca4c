"""The command `archive` is killed again and again while it moves rows or restores them, and others post and read."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from random import Random

import pytest

from db.archive.reading import LedgerArchive
from db.database import Database
from db.filters import TransactionFilter, Window
from db.rows import TransactionRow
from db.transactions.pages import transaction_pages
from ledger.posting import Ledger
from ledger.verification.accounts import verify_account
from tests.ledger.archiver import FILE_ROWS
from tests.ledger.desk import DAY, Desk, api_usage, posting
from tests.ledger.test_kill import ROOT

KILLS = int(os.environ.get("ARCHIVE_KILLS", "4"))
OLD_ROWS = 60
ARCHIVED = OLD_ROWS // FILE_ROWS * FILE_ROWS


async def _started(url: str, folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.ledger.archiver", "archive", "--archive-url", str(folder), *arguments),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "BILLING_DATABASE_URL": url},
        cwd=ROOT,
    )


async def _ended(url: str, folder: Path, *arguments: str) -> str:
    process = await _started(url, folder, *arguments)
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode()


class _Clients:
    """Post to the account and read all of its rows, which must be those that were there before."""

    def __init__(self, database: Database, account_id: int, rows: list[TransactionRow]) -> None:
        self._database = database
        self._ledger = Ledger(database)
        self._account_id = account_id
        self.rows = rows
        """All that were acknowledged."""
        self.is_over = False

    async def post(self) -> None:
        while not self.is_over:
            (outcome,) = await self._ledger.post(posting(self._account_id, api_usage(1)))
            self.rows += outcome.transactions
            await asyncio.sleep(0.01)

    async def read(self) -> None:
        while not self.is_over:
            await self.check()

    async def check(self) -> None:
        known = len(self.rows)
        async with self._database.snapshot() as snapshot:
            read = transaction_pages(snapshot.is_postgresql, [self._account_id], TransactionFilter(), Window(100_000))
            found = (await snapshot.read(read))[self._account_id][::-1]
        assert found[:known] == self.rows[:known]
        assert [row.seq for row in found] == list(range(1, len(found) + 1))


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


async def test_killed_runs_lose_no_row(desk: Desk, database_url: str, tmp_path: Path) -> None:
    database, random, folder = desk.database, Random(5), tmp_path / "archive"
    desk.now -= 1_000 * DAY
    account_id = await desk.account("1000.00")
    for number in range(1, OLD_ROWS):
        await desk.post(account_id, api_usage(number))
    database.archive = LedgerArchive(str(folder))
    clients = _Clients(database, account_id, await desk.rows(account_id))
    borders = []
    async with asyncio.TaskGroup() as group:
        for client in (clients.post, clients.read):
            group.create_task(client())
        try:
            for _ in range(KILLS):
                process = await _started(database_url, folder, random.choice(("--move", "--move", "--restore")))
                assert process.stdout is not None
                for _ in range(random.randrange(4)):
                    await process.stdout.readline()
                await asyncio.sleep(random.uniform(0, 0.1))
                if process.returncode is None:
                    process.kill()
                assert await process.wait() in (0, -9)
                border = await database.border_of(account_id)
                borders.append(0 if border is None else border.archived_seq)
                assert (await verify_account(database, account_id)).faults == []
        finally:
            clients.is_over = True
    assert {*borders} - {0, ARCHIVED}, "no run was killed in the middle"
    await _ended(database_url, folder, "--move")
    assert await _ended(database_url, folder, "--check") == f"acct_{account_id}\t{ARCHIVED}\n"
    await clients.check()
    assert (await verify_account(database, account_id)).faults == []
    await _ended(database_url, folder, "--restore")
    assert await desk.rows(account_id) == clients.rows
    database.archive.close()
