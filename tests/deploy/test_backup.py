"""Backups are taken, restored and checked by the scripts of deploy/backup, on both databases."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from db.database import Database, DatabaseOptions, sqlite_url
from tests.deploy.names import DEPLOY, ROOT
from tests.gateway.command_line import run
from tests.gateway.served import awaited
from tests.ledger.desk import OPERATOR, Desk, correction
from tests.ledger.verification.filled import filled
from tests.postgres import QUICK, Postgres, started

SCRIPTS = DEPLOY / "backup"
DRILLS = int(os.environ.get("BACKUP_DRILLS", "0"))


def _called(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        env=os.environ | environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def _copied(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return _called(sys.executable, SCRIPTS / "copy_sqlite.py", source, target)


async def test_a_copy_of_sqlite_is_of_one_moment_while_rows_are_written(sqlite_file_url: str, tmp_path: Path) -> None:
    database = Database(DatabaseOptions(url=sqlite_file_url))
    ledger, target = await filled(Desk(database)), tmp_path / "copy.db"
    assert database.file is not None
    copying = asyncio.create_task(asyncio.to_thread(_copied, database.file, target))
    while not copying.done():
        await ledger.desk.post(ledger.busy, correction(1), writer=OPERATOR)
    copied = copying.result()
    assert (copied.returncode, copied.stderr) == (0, "")
    assert target.stat().st_mode & 0o777 == 0o600
    said = await asyncio.to_thread(run, "verify", url=sqlite_url(target))
    assert said.endswith("faults: 0\n")
    assert "exists" in _copied(database.file, target).stderr
    await database.close()


def test_a_segment_of_the_log_is_kept_once_and_never_replaced(tmp_path: Path) -> None:
    kept = tmp_path / "wal"
    kept.mkdir()
    (tmp_path / "segment").write_text("one")

    def archived() -> int:
        return _called(SCRIPTS / "archive-wal", tmp_path / "segment", "0001", kept).returncode

    assert [archived(), archived()] == [0, 0]
    (tmp_path / "segment").write_text("two")
    assert archived() == 1
    assert [(path.name, path.read_text()) for path in kept.iterdir()] == [("0001", "one")]


def test_a_restore_without_a_backup_before_the_time_says_so(tmp_path: Path) -> None:
    (tmp_path / "base-20261130T000000Z").mkdir()
    refused = _called(SCRIPTS / "restore", tmp_path, "2026-11-29 23:00:00+00", tmp_path / "new")
    assert (refused.returncode, refused.stderr) == (1, f"no backup in {tmp_path} ended before 2026-11-29 23:00:00+00\n")


class Site:
    """A live server that archives its log, and a folder of its backups."""

    def __init__(self, server: Postgres, database: str, folder: Path) -> None:
        self.server = server
        self.database = database
        self.folder = folder
        self.url = server.url(database)
        programs = server.programs, Path(sys.executable).parent
        path = os.pathsep.join([*map(str, programs), os.environ["PATH"]])
        # pg_verifybackup of the package that has the tests' PostgreSQL crashes whatever it is given.
        own = {"BACKUP_USER": server.owner or "", "PG_VERIFYBACKUP": "true", "PYTHONPATH": str(ROOT)}
        self._environment = {"PATH": path, **own}

    def call(self, script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        return _called(SCRIPTS / script, *arguments, **self._environment)

    async def now(self) -> str:
        """The time by the server's clock, with a commit after it."""
        found = await self.server.fetch_value("SELECT clock_timestamp()::text")
        await self.server.execute("CREATE TABLE IF NOT EXISTS after_it (); DROP TABLE after_it")
        return str(found)

    async def archive(self) -> None:
        """Waits until all that was written is in the archive."""
        segment = await self.server.fetch_value("SELECT pg_walfile_name(pg_switch_wal())")
        await asyncio.to_thread(awaited, (self.folder / "wal" / segment).exists)


@pytest.fixture
def backups() -> Iterator[Path]:
    """A folder that the server's user can write to, if it runs as another: what pytest makes, it cannot."""
    with tempfile.TemporaryDirectory(prefix="billing-backups-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "wal").mkdir()
        shutil.copy(SCRIPTS / "archive-wal", folder)
        folder.chmod(0o755)
        (folder / "wal").chmod(0o777)
        yield folder


@pytest.fixture
async def site(backups: Path) -> AsyncIterator[Site]:
    command = f"{backups / 'archive-wal'} %p %f {backups / 'wal'}"
    with started({**QUICK, "archive_mode": "on", "archive_command": f"'{command}'"}) as server:
        server.stop()
        server.start()
        database = await server.new_database()
        await asyncio.to_thread(run, "migrate", url=server.url(database))
        yield Site(server, database, backups)


@pytest.mark.skipif(not DRILLS, reason="BACKUP_DRILLS is not set: make test-nightly")
async def test_a_drill_restores_a_moment_and_finds_what_does_not_fit(site: Site) -> None:
    database = Database(DatabaseOptions(url=site.url))
    ledger = await filled(Desk(database))
    based = site.call("base-backup", site.url, site.folder)
    assert based.returncode == 0, based.stderr
    await ledger.desk.post(ledger.busy, correction(77), writer=OPERATOR)
    moment = await site.now()
    await ledger.desk.post(ledger.busy, correction(-5, "The mistake"), writer=OPERATOR)
    await site.archive()
    drilled = site.call("drill", site.folder, moment, site.url)
    assert drilled.returncode == 0, drilled.stdout + drilled.stderr
    assert "accounts: 3, rows: 27, faults: 0\nevery account's newest row is in the live ledger\n" in drilled.stdout
    newest = site.call("drill", site.folder, "newest", site.url)
    assert "rows: 28, faults: 0\n" in newest.stdout

    # A balance that somebody changes is in the backup, too; a row that somebody replaces in the live ledger is not.
    await ledger.desk.execute(f"UPDATE accounts SET balance_nanos = balance_nanos + 1 WHERE id = {ledger.metered}")
    changed = await site.now()
    head = f"SELECT head_seq FROM accounts WHERE id = {ledger.busy}"
    await ledger.desk.execute(
        f"UPDATE transactions SET hash = sha256('x') WHERE account_id = {ledger.busy} AND seq = ({head})"
    )
    await site.archive()
    drilled = site.call("drill", site.folder, changed, site.url)
    assert drilled.returncode == 1
    assert f"acct_{ledger.metered}\thead\t" in drilled.stdout
    assert f"acct_{ledger.busy}: row " in drilled.stdout

    # Without the log up to the moment there is no server at an earlier one.
    newest_segment = max(path for path in (site.folder / "wal").iterdir() if len(path.name) == 24)
    newest_segment.unlink()
    drilled = site.call("drill", site.folder, changed, site.url)
    assert drilled.returncode == 1
    assert "recovery ended before configured recovery target was reached" in drilled.stderr
    await database.close()
