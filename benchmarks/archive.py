"""Measures a page of the archive against the same page of the ledger.

The ledger is a new SQLite file with `--rows` rows in one account. The page is read from the middle of an archived file,
which is already open, or is fetched and compared with its name first. In the end the rows are moved, and the same page
is read as a gateway reads it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from db.archive.parquet import opened
from db.archive.store import ArchiveStore
from db.database import Database, DatabaseOptions, sqlite_url
from db.filters import ALL_TRANSACTIONS, Window
from db.rows import AccountRow, TransactionRow
from db.schema_version import migrate
from db.transactions.pages import transaction_pages
from ledger.accounts import Accounts
from ledger.archiving import Archiving
from ledger.chain import GENESIS, row_hash
from tests.ledger_rows import insert_transactions, update_account

_START = datetime(2020, 1, 1, tzinfo=UTC)
_PAGE = 50
_ROUNDS = 30


def _rows(account: AccountRow, count: int) -> list[TransactionRow]:
    rows, previous = [], GENESIS
    for seq in range(1, count + 1):
        at, text = _START + timedelta(minutes=seq), f"GPU Instance #{seq % 977}: hold 2.40 × 1 GPU × 1h"
        row = TransactionRow(
            *(account.id, seq, at, "gpu_usage", -(seq % 97 + 1) * 10_000_000, 0, text, "metering"),
            *("gpu_instance", str(seq % 977), "eco_services", None, at, at + timedelta(hours=1), b""),
        )
        previous = row_hash(previous, row)
        rows.append(row._replace(hash=previous))
    return rows


async def _milliseconds(read: Callable[[], Awaitable[Any]]) -> float:
    taken = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        await read()
        taken.append((time.perf_counter() - start) * 1_000)
    return statistics.median(taken)


async def _measure(folder: Path, count: int) -> Sequence[tuple[str, float]]:
    database = Database(DatabaseOptions(sqlite_url(folder / "billing.db"), archive_url=str(folder / "archive")))
    await migrate(database)
    account = await Accounts(database).create("Archived", None)
    rows = _rows(account, count)
    head = account._replace(head_seq=count, head_at=rows[-1].created_at, head_hash=rows[-1].hash)
    async with database.write() as connection:
        await insert_transactions(connection, rows)
        await update_account(connection, head)
    store = ArchiveStore(str(folder / "archive"))
    start = time.perf_counter()
    files = [file async for file in Archiving(database, store).copy(account.id, datetime.now(UTC))]
    copied = (time.perf_counter() - start) * 1_000_000 / files[-1].last_seq
    window = Window(_PAGE, after=files[0].last_seq // 2)

    async def live() -> Any:
        async with database.snapshot() as snapshot:
            return await snapshot.read(transaction_pages(False, [account.id], ALL_TRANSACTIONS, window))

    page = transaction_pages(False, [account.id], ALL_TRANSACTIONS, window)
    with opened(store, files[:1]) as archived:
        assert archived.read(page) == await live()

        async def warm() -> Any:
            return archived.read(page)

        of_opened = await _milliseconds(warm)

    async def cold() -> Any:
        with opened(store, files[:1]) as archived:
            return archived.read(page)

    live_ms, cold_ms = await _milliseconds(live), await _milliseconds(cold)
    expected = await live()
    start = time.perf_counter()
    moved = [
        file async for file in Archiving(database, store, first_move_seconds=0).move(account.id, datetime.now(UTC))
    ]
    removed = (time.perf_counter() - start) * 1_000_000 / moved[-1].last_seq
    assert await live() == expected
    moved_ms = await _milliseconds(live)
    size = len(store.read(files[0])) / files[0].last_seq
    found = [
        ("live page, ms", live_ms),
        ("page of moved rows, ms", moved_ms),
        ("archived page, file open, ms", of_opened),
        ("archived page, file fetched and checked, ms", cold_ms),
        ("copying and checking a row, µs", copied),
        ("moving a copied row, µs", removed),
        ("bytes a row in the archive", size),
    ]
    await database.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="more than 50,000")
    count = parser.parse_args().rows
    with TemporaryDirectory() as folder:
        for name, value in asyncio.run(_measure(Path(folder), count)):
            print(f"{name:<46}{value:>10.2f}")


if __name__ == "__main__":
    main()
