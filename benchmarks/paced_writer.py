"""Posts rows at a steady pace for so long: `python -m benchmarks.paced_writer URL ACCOUNTS ROWS_A_SECOND SECONDS`.

Each call posts one row to an account drawn by chance, and is begun when its time has come, whether or not those before
it are through. Prints as JSON how many rows were posted in how many seconds, and how many milliseconds after each row's
`createdAt` its commit was known here: subscribers can't know of it sooner.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time

import uvloop

from db.database import Database, DatabaseOptions
from ledger.commands import Entry, Posting, Ref, Writer
from ledger.kinds import RefType, TransactionType, WriterKind
from ledger.posting import Ledger

_SERVICE = Writer(WriterKind.SERVICE, "benchmarks")


def order_of(account_id: int, number: int) -> Posting:
    ref = Ref(RefType.API_USAGE, str(number))
    entry = Entry(TransactionType.GPU_USAGE, -135_000 - number, f"API usage, batch {number}", ref)
    return Posting(account_id, _SERVICE, [entry], "post", f"benchmarks-{time.time_ns()}-{number}")


async def _write(url: str, accounts: int, rate: float, seconds: float) -> None:
    database = Database(DatabaseOptions(url))
    ledger = Ledger(database)
    commits_ms: list[float] = []

    async def post(number: int) -> None:
        (outcome,) = await ledger.post(order_of(random.randint(1, accounts), number))
        commits_ms.append((time.time() - outcome.transactions[0].created_at.timestamp()) * 1000)

    started = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                await asyncio.sleep(started + number / rate - time.perf_counter())
                group.create_task(post(number))
        took = time.perf_counter() - started
        sys.stdout.write(json.dumps({"rows": len(commits_ms), "seconds": took, "commits_ms": commits_ms}))
    finally:
        await database.close()


if __name__ == "__main__":
    _, url, accounts, rate, seconds = sys.argv
    uvloop.run(_write(url, int(accounts), float(rate), float(seconds)))
