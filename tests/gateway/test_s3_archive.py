"""The archive in S3: the command, and a gateway that reads moved rows, against a server that speaks its protocol."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient
from structlog.testing import capture_logs

from access.keys import Keys, KeyScope, NewKey
from db.archive.store import READ_SECONDS
from db.database import Database
from gateway.commands import archive as command
from ledger.archiving import Archiving
from ledger.ids import account_id_text
from tests.gateway.command_line import run
from tests.gateway.test_archived_rows import gateway
from tests.gateway.test_commands import Server
from tests.ledger.desk import DAY, Desk, api_usage
from tests.object_storage import BUCKET, SECRET, ObjectStorage, started

pytestmark = pytest.mark.one_database

URL = f"s3://{BUCKET}/archive"
ROWS = 11
FILE_ROWS = 4


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStorage]:
    monkeypatch.setattr(command, "Archiving", partial(Archiving, file_rows=FILE_ROWS, first_move_seconds=0))
    with started(tmp_path, monkeypatch) as storage:
        yield storage


@pytest.fixture
async def account(database: Database) -> str:
    """An account with rows that are old enough."""
    desk = Desk(database)
    desk.now -= 1_000 * DAY
    account_id = await desk.account("10.00")
    for number in range(1, ROWS):
        desk.now += timedelta(hours=1)
        await desk.post(account_id, api_usage(number))
    return account_id_text(account_id)


@pytest.fixture
async def headers(database: Database) -> dict[str, str]:
    issued = await Keys(database).create(NewKey(KeyScope.OPERATOR, "tests"))
    return {"Authorization": f"Bearer {issued.secret}"}


async def called(url: str, *arguments: str, status: int = 0) -> str:
    return await asyncio.to_thread(run, "archive", "--archive-url", URL, *arguments, url=url, status=status)


async def page_of(client: TestClient[Any, Any], account: str, headers: dict[str, str], limit: int = ROWS) -> Any:
    query = f"?account={account}&limit={limit}"
    async with client.get(f"/billing/transactions{query}", headers=headers) as response:
        assert SECRET not in await response.text()
        answer = await response.json()
        return answer if response.status == 200 else answer["error"]["code"]


async def test_rows_are_moved_to_s3_and_back(
    storage: ObjectStorage, account: str, headers: dict[str, str], database_url: str
) -> None:
    async with gateway(database_url, URL) as client:
        before = await page_of(client, account, headers)
    assert len(before) == ROWS
    copied = await called(database_url)
    names = [line.split("\t")[3] for line in copied.splitlines()]
    assert names == [name.removeprefix(f"{BUCKET}/archive/") for name in storage.files.find(f"{BUCKET}/archive")]
    assert [line.split("\t")[:3] for line in copied.splitlines()] == [[account, "1", "4"], [account, "5", "8"]]
    assert await called(database_url) == ""
    assert await called(database_url, "--move") == copied
    assert await called(database_url, "--check") == f"{account}\t8\n"
    async with gateway(database_url, URL) as client:
        assert await page_of(client, account, headers) == before
        # The gateway keeps the files that it has read.
        storage.files.rm(f"{BUCKET}/archive", recursive=True)
        assert await page_of(client, account, headers) == before
    async with gateway(database_url, URL) as client:
        assert await page_of(client, account, headers) == "UNAVAILABLE"
    assert "is missing" in await called(database_url, "--check", status=1)


async def test_changed_objects_are_noticed(
    storage: ObjectStorage, account: str, headers: dict[str, str], database_url: str
) -> None:
    moved = (await called(database_url, "--move")).split()
    path = f"{URL}/{moved[3]}"
    content = storage.files.cat_file(path)
    storage.files.pipe_file(path, content[:-1])
    async with gateway(database_url, URL) as client:
        with capture_logs() as logs:
            assert await page_of(client, account, headers) == "UNAVAILABLE"
        assert moved[3] in str(logs)
        assert "was changed" in await called(database_url, "--restore", status=1)
        storage.files.pipe_file(path, content)
        assert len(await page_of(client, account, headers)) == ROWS
    # The newer file was restored before.
    assert await called(database_url, "--restore") == "\t".join(moved[:4]) + "\n"
    assert await called(database_url, "--check") == f"{account}\t8\n"


async def test_storage_that_does_not_answer_delays_one_read(
    storage: ObjectStorage,
    account: str,
    headers: dict[str, str],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await called(database_url, "--move")
    monkeypatch.setattr("db.archive.store.READ_SECONDS", 2)
    async with gateway(database_url, URL) as client:
        storage.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with capture_logs() as logs:
            asked = [asyncio.create_task(page_of(client, account, headers)) for _ in range(3)]
            # What needs no file is answered meanwhile.
            assert len(await page_of(client, account, headers, limit=1)) == 1
            assert await asyncio.gather(*asked) == ["UNAVAILABLE"] * 3
        assert time.monotonic() - began < 3 * 2, "they waited for the storage one after the other"
        assert "did not answer in time" in str(logs)
        assert SECRET not in str(logs)
        waiting = asyncio.create_task(page_of(client, account, headers))
        await asyncio.sleep(0.3)
        assert await page_of(client, account, headers) == "UNAVAILABLE"
        assert not waiting.done()
        assert await waiting == "UNAVAILABLE"
        assert "did not answer in time" in await called(database_url, "--check", status=1)
        storage.process.send_signal(signal.SIGCONT)
        assert len(await page_of(client, account, headers)) == ROWS


async def test_a_gateway_ends_while_the_storage_does_not_answer(
    storage: ObjectStorage, account: str, headers: dict[str, str], database_url: str
) -> None:
    await called(database_url, "--move")
    server = Server(database_url, "--archive-url", URL)
    try:
        async with ClientSession(server.address, headers=headers) as session:
            await server.ready(session)
            storage.process.send_signal(signal.SIGSTOP)
            # The client goes, and nobody waits for what it asked for.
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1), session.get(f"/billing/transactions?account={account}&limit={ROWS}"):
                    pass
        began = time.monotonic()
        assert await server.stopped() == 0
        assert time.monotonic() - began < READ_SECONDS / 2
    finally:
        server.process.kill()
        server.process.wait()


async def test_refusals_of_the_storage_are_told(
    storage: ObjectStorage, account: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.files.rmdir(BUCKET)
    assert "The specified bucket does not exist" in await called(database_url, status=1)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    storage.files.clear_instance_cache()
    assert "Unable to locate credentials (UNAVAILABLE)" in await called(database_url, status=1)
