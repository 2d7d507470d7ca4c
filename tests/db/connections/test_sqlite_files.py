"""Who may read the files of a SQLite database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from db.database import Database, DatabaseOptions, sqlite_url
from db.schema_version import migrate


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Of a file that is not there, for a process whose files all may read."""
    before = os.umask(0o022)
    yield tmp_path / "billing.db"
    os.umask(before)


def modes(path: Path) -> dict[str, int]:
    return {one.name: one.stat().st_mode & 0o777 for one in path.parent.iterdir()}


async def test_a_new_file_is_its_owner_s_only(path: Path) -> None:
    database = Database(DatabaseOptions(sqlite_url(path)))
    await migrate(database)
    async with database.snapshot() as snapshot:
        await snapshot.rows(text("SELECT 1"))
    assert modes(path) == {"billing.db": 0o600, "billing.db-wal": 0o600, "billing.db-shm": 0o600}
    await database.close()


async def test_a_file_that_is_there_keeps_its_mode(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o640))
    database = Database(DatabaseOptions(sqlite_url(path)))
    await migrate(database)
    assert modes(path)["billing.db"] == 0o640
    await database.close()
