"""Importing usage into a set of shards: the same as into one database, also while accounts move."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest

from db.database import Database
from db.errors import NumberOutOfRange
from db.shards import databases_of
from ledger.imports import sources
from ledger.imports.importer import Importer
from ledger.imports.options import ImportOptions
from ledger.imports.sources import Source
from ledger.moving import AccountMoves
from ledger.placement import place_external_ids
from ledger.posting import Ledger
from ledger.prices import Prices
from ledger.verification.accounts import verify_account
from tests.copies import Source as Template
from tests.doses import dose
from tests.ledger.imports.test_importer import _days, _import, _log, _months, _now, _rollups, _rows
from tests.shards import databases, formed, new_urls

CREATE = ImportOptions(create_accounts=True)
LINES_A_BATCH = 10
NAMES = ("a", "b", "c", "d")


@pytest.fixture
async def urls(empty_database: Template, tmp_path: Path) -> AsyncIterator[list[str]]:
    """URLs of a set of two databases, and of one by itself."""
    async with new_urls(empty_database, tmp_path, 3) as made:
        await formed(*made[:2])
        yield made


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BATCH_RECORDS", LINES_A_BATCH)


def requests(count: int) -> str:
    """Lines of all accounts in turn, some of them equal."""
    return _log(
        *(
            f"2026-11-22 {number // 24 % 24:02}:00:00,{NAMES[number % 4]},m,chat,{number % 3},1,1"
            for number in range(count)
        )
    )


async def usage(database: Database) -> list[list[tuple[object, ...]]]:
    """Everything that was imported, of all shards, by external ids. What was left behind by a move would be double."""
    found: list[list[tuple[object, ...]]] = []
    for read in (_days, _months, _requests, _hours):
        rows = [row for one in databases_of(database) for row in await read(one)]
        found.append(sorted(rows, key=repr))
    return found


async def _requests(database: Database) -> list[tuple[object, ...]]:
    return await _rows(
        database, "SELECT external_id, digest FROM usage_requests JOIN accounts ON id = account_id ORDER BY 1, 2"
    )


async def _hours(database: Database) -> list[tuple[object, ...]]:
    return await _rows(
        database,
        "SELECT external_id, hour, model, calls, input_tokens, cost_nanos FROM usage_hours"
        " JOIN accounts ON id = account_id ORDER BY 1, 2",
    )


async def moved(urls: list[str], account_id: int, number: int) -> None:
    async with databases(*urls[:2]) as made:
        assert made[0].place is not None
        report = await AccountMoves(made[0].place.shards, announced_seconds=0).move(account_id, number)
        assert report.faults == []


async def test_shards_get_what_one_database_gets(urls: list[str]) -> None:
    files = [requests(47), _rollups(*(f"{name},2026-11-20,m,chat,5,50,10,1" for name in (*NAMES, "e", "e")))]
    async with databases(*urls[:2]) as shards, databases(urls[2]) as (alone,):
        one, other = [await _import(database, *files) for database in (shards[0], alone)]
        assert one == other
        assert (one.counts, one.report.accounts_created) == ([(47, 0, 0), (5, 1, 0)], 5)
        assert await usage(shards[0]) == await usage(alone)
        for number, names in enumerate([["a", "c", "e"], ["b", "d"]]):
            assert [
                row[0] for row in await _rows(shards[number], "SELECT external_id FROM accounts ORDER BY 1")
            ] == names
        again = await _import(shards[0], *files)
        assert (again.counts, again.report.accounts_created) == ([(0, 47, 0), (0, 6, 0)], 0)
        assert await usage(shards[0]) == await usage(alone)
        for account_id in (1, 2, 3, 1_000_000_000_001, 1_000_000_000_002):
            assert (await verify_account(shards[account_id // 10**12], account_id)).faults == []


async def test_accounts_are_named_by_id_or_external_id_on_any_shard(urls: list[str]) -> None:
    async with databases(*urls[:2]) as shards:
        await _import(shards[0], _rollups("a,2026-11-20,m,chat,1,1,1,1", "b,2026-11-20,m,chat,1,1,1,1"))
        lines = (f"{name},2026-11-21,m,chat,1,1,1,1" for name in ("acct_1", "acct_1000000000001", "acct_2", "new"))
        found = await _import(shards[0], _rollups(*lines), options=ImportOptions())
        assert (found.counts, [line for _, line, _ in found.refusals]) == ([(2, 0, 2)], [4, 5])
        assert [row[:2] for row in (await usage(shards[0]))[0]] == [
            (name, f"2026-11-{day}") for name in ("a", "b") for day in (20, 21)
        ]
        # A crash after the directory was written left no account: it is created where the directory says.
        placed = await place_external_ids(Ledger(shards[0]), ["crashed", "other"])
        assert placed == {0: ["crashed"], 1: ["other"]}
        await _import(shards[0], _rollups("other,2026-11-21,m,chat,1,1,1,1"))
        assert await _rows(shards[1], "SELECT id FROM accounts WHERE external_id = 'other'") == [(1_000_000_000_002,)]


async def test_accounts_that_move_between_batches_get_each_line_once(urls: list[str]) -> None:
    text, places = requests(60), itertools.cycle([1, 0])

    def move(_: int) -> None:
        # Another process. The importer hears of the move by not finding the account.
        thread.submit(asyncio.run, moved(urls, 1, next(places))).result()

    with ThreadPoolExecutor(1) as thread:
        async with databases(*urls[:2]) as shards, databases(urls[2]) as (alone,):
            await _import(alone, text)
            await _import(shards[0], requests(4))
            importer = Importer(shards[0], CREATE, Prices(), _now, on_bytes=move)
            report = await importer.run([Source("1.csv", BytesIO(text.encode()))])
            assert [(file.taken, file.known, file.refused) for file in report.files] == [(56, 4, 0)]
            assert await usage(shards[0]) == await usage(alone)
            assert (await _import(shards[0], text)).counts == [(0, 60, 0)]
            assert await usage(shards[0]) == await usage(alone)


async def test_accounts_that_move_during_batches_get_each_line_once(urls: list[str]) -> None:
    text = requests(dose(400, 4_000))
    async with databases(*urls[:2]) as shards, databases(urls[2]) as (alone,):
        await _import(alone, text)
        await _import(shards[0], requests(4))

        is_over = asyncio.Event()

        async def move() -> None:
            for number in itertools.cycle([1, 0]):
                await moved(urls, 1, number)
                await moved(urls, 1_000_000_000_001, 1 - number)
                if is_over.is_set():
                    return

        moving = asyncio.create_task(move())
        try:
            report = await _import(shards[0], text)
        finally:
            # A move that was broken off would leave a copy, which `usage` counts.
            is_over.set()
            await moving
        assert report.counts == [(len(text.splitlines()) - 5, 4, 0)]
        assert await usage(shards[0]) == await usage(alone)


async def test_committed_lines_are_counted_if_a_shard_fails(urls: list[str]) -> None:
    most = 2**63 - 1
    async with databases(*urls[:2]) as shards:
        await _import(shards[0], _rollups("a,2026-11-01,m,chat,1,1,1,1"), _rollups(f"b,2026-11-01,m,chat,1,{most},0,0"))
        importer = Importer(shards[0], CREATE, Prices(), _now)
        file = _rollups(*(f"{name},2026-11-02,m,chat,1,1,0,0" for name in ("b", "a")))
        with pytest.raises(NumberOutOfRange, match=r"rollups\.csv, lines up to"):
            await importer.run([Source("rollups.csv", BytesIO(file.encode()))])
        assert [(one.taken, one.refused) for one in importer.report.files] == [(1, 0)]
        assert await _rows(shards[0], "SELECT calls FROM usage_days WHERE day = '2026-11-02'") == [(1,)]
