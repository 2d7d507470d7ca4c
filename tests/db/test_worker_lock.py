"""Of several workers one holds the lock, and whoever dies sets it free."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from db.database import Database, DatabaseOptions

DB = Path(__file__).parents[2] / "db"

TERMINATE = text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")


@contextlib.asynccontextmanager
async def relayed(database_url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The URL of a relay that never hangs up, and whether the server has."""
    url = make_url(database_url)
    socket = f"{url.query['host']}/.s.PGSQL.{url.query.get('port', 5432)}"
    hung_up = asyncio.Event()

    async def copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(socket)
        asking = asyncio.create_task(copied(reader, to_server))
        await copied(from_server, writer)
        hung_up.set()
        await asking
        to_server.close()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        shown = url.set(query={}, host="127.0.0.1", port=port).render_as_string(hide_password=False)
        yield shown, hung_up


async def test_only_one_worker_holds_the_lock(database: Database, database_url: str) -> None:
    other = Database(DatabaseOptions(database_url))
    first, second = database.worker_lock(), other.worker_lock()
    assert await first.acquire()
    assert await first.acquire()
    assert (await first.is_held(), await second.is_held()) == (True, False)
    assert not await second.acquire()
    await first.release()
    assert not await first.is_held()
    assert await second.acquire()
    await second.release()
    await other.close()


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_lost_connection_releases_the_lock(database: Database) -> None:
    lock, other = database.worker_lock(), database.worker_lock()
    assert await lock.acquire()
    async with database.write() as connection:
        assert (await connection.execute(TERMINATE)).scalars().all() == [True]
    assert not await lock.is_held()
    assert await other.acquire()
    await other.release()


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_connection_with_announced_end_counts_as_lost(database: Database, database_url: str) -> None:
    async with relayed(database_url) as (url, hung_up):
        relayed_database = Database(DatabaseOptions(url))
        lock = relayed_database.worker_lock()
        assert await lock.acquire()
        async with database.write() as connection:
            assert (await connection.execute(TERMINATE)).scalars().all() == [True]
        await hung_up.wait()
        # Until the driver has read what came before the server hung up.
        await asyncio.sleep(0.05)
        assert not await lock.is_held()
        await relayed_database.close()


def test_lock_numbers_are_unique() -> None:
    """One that is held for hours must not be the one that a moment's work waits for."""
    numbers = [one for path in DB.rglob("*.py") for one in re.findall(r"= (7_245_\d{3}_\d{3})", path.read_text())]
    assert len(numbers) == len(set(numbers)) == 4
