"""Posts rows to random accounts all the while: `python -m benchmarks.writer DATABASE_URL ACCOUNTS ROWS_A_SECOND`."""

from __future__ import annotations

import asyncio
import random
import sys
from itertools import count

from db.database import Database, DatabaseOptions
from ledger.commands import Entry, Posting, Ref, Writer
from ledger.kinds import RefType, TransactionType, WriterKind
from ledger.posting import Ledger

_SERVICE = Writer(WriterKind.SERVICE, "benchmarks")


def _posting(accounts: int, number: int) -> Posting:
    entry = Entry(
        TransactionType.GPU_USAGE, -135_000 - number, f"API usage, batch {number}", Ref(RefType.API_USAGE, str(number))
    )
    return Posting(random.randint(1, accounts), _SERVICE, [entry], "post", f"benchmarks-{number}")


async def _write(url: str, accounts: int, rate: float) -> None:
    database = Database(DatabaseOptions(url, pool_size=1))
    ledger = Ledger(database)
    try:
        for number in count(random.getrandbits(40)):
            await ledger.post(_posting(accounts, number))
            await asyncio.sleep(1 / rate)
    finally:
        await database.close()


if __name__ == "__main__":
    asyncio.run(_write(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
