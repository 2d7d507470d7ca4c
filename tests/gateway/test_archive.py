"""`billing-gateway archive` as operators call it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from db.database import Database
from ledger import archiving
from ledger.ids import account_id_text
from tests.gateway.command_line import run
from tests.ledger.desk import Desk
from tests.ledger.verification.filled import filled

pytestmark = pytest.mark.one_database


async def test_rows_that_are_not_old_enough_stay_out(database_url: str, database: Database, tmp_path: Path) -> None:
    ledger = await filled(Desk(database))
    folder = str(tmp_path / "archive")
    assert archiving.FILE_ROWS > 1_000, "the ledger of this test fills no file"

    async def called(*arguments: str, status: int = 0) -> str:
        return await asyncio.to_thread(run, "archive", *arguments, url=database_url, status=status)

    assert await called("--archive-url", folder) == ""
    busy = account_id_text(ledger.busy)
    assert await called("--archive-url", folder, "--check", "--account", busy) == f"{busy}\t0\n"
    await called(status=2)
    await called("--archive-url", "nowhere://bucket", status=1)
