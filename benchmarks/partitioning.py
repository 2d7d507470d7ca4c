"""Is `transactions` better off plain or hash partitioned by account on PostgreSQL?

    python -m benchmarks.partitioning [--rows N] [--accounts N]

The variants live side by side in schemas of one throw-away server and hold the same rows. They take turns within
every round, each being first as often as the others, so that a busy machine slows all of them alike: trust the
ratios, not the milliseconds. docs/decisions says what came of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import uvloop
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from db import tables
from db.rows import TransactionRow
from tests.postgres import Postgres, started

ROUNDS: Final = 6
READS_A_ROUND: Final = 40
EXPLAINS_A_ROUND: Final = 10
NEW_CONNECTIONS_A_ROUND: Final = 5
FILL_STEPS: Final = 6
POSTING_CONNECTIONS: Final = 8
POSTING_SECONDS: Final = 2.5
PAGE_ROWS: Final = 50
LISTED_ACCOUNTS: Final = 10
LIMIT_SECONDS: Final = 360
# So many executions of a prepared statement are planned anew; from the next one on a generic plan may be kept.
CUSTOM_EXECUTIONS: Final = 5
# The gateway's own, of those that bear on plans.
SESSION: Final = {"jit": "off", "timezone": "UTC"}


@dataclass(frozen=True, slots=True)
class Variant:
    schema: str
    partitions: int
    """0 for a plain table."""


VARIANTS: Final = (Variant("plain", 0), Variant("hash16", 16), Variant("hash64", 64))


def in_turn(turn: int) -> tuple[Variant, ...]:
    first = turn % len(VARIANTS)
    return VARIANTS[first:] + VARIANTS[:first]


class Figures:
    """Measured values by figure and variant."""

    def __init__(self) -> None:
        self._values: defaultdict[str, defaultdict[Variant, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, figure: str, variant: Variant, value: float) -> None:
        self._values[figure][variant].append(value)

    def lines(self) -> Iterator[str]:
        """A Markdown table of medians and their ratios to those of the plain table."""
        yield "| figure | plain | hash 16 | hash 64 | 16 ÷ plain | 64 ÷ plain |"
        yield "|---|---:|---:|---:|---:|---:|"
        for figure, values in self._values.items():
            medians = [statistics.median(values[variant]) for variant in VARIANTS]
            ratios = [f"{median / medians[0]:.2f}" if medians[0] else "" for median in medians[1:]]
            yield f"| {figure} | {' | '.join([*map(_number, medians), *ratios])} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


class Connections:
    def __init__(self, server: Postgres, database: str) -> None:
        self._server = server
        self._database = database

    @asynccontextmanager
    async def new(self, variant: Variant, **settings: str) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(
            user=self._server.user,
            host=self._server.host,
            database=self._database,
            server_settings={**SESSION, **settings, "search_path": variant.schema},
        )
        try:
            yield connection
        finally:
            await connection.close()


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the filled tables hold: one account with half of all rows, the others with alike shares of the rest."""

    rows: int
    accounts: int

    def head(self, account: int) -> int:
        return self.rows // 2 if account == 1 else self.rows // 2 // (self.accounts - 1)


# The rows of all accounts come in turn, as they would in time: odd ones belong to account 1.
_FILL: Final = """
INSERT INTO transactions
SELECT account_id, seq, timestamptz '2025-01-01 00:00Z' + i * interval '20 s', type,
       CASE WHEN type IN ('gpu_usage', 'storage_billing') THEN -1 ELSE 1 END
           * (1000000 + abs(hashint8extended(i, 2)) % 9000000000),
       i * 1000,
       CASE type WHEN 'gpu_usage' THEN 'GPU Instance #' || ref || ': hold per-GPU × 1 GPU × 1h'
                 WHEN 'refund' THEN 'GPU Instance #' || ref || ': refund of the unused part'
                 WHEN 'storage_billing' THEN 'Cloud drive #' || ref || ': 100 GB for a day'
                 ELSE 'Stripe Checkout cs_live_' || i END,
       CASE type WHEN 'storage_billing' THEN 'storage_worker' WHEN 'topup' THEN 'stripe_webhook'
                 WHEN 'refund' THEN CASE WHEN die % 50 = 0 THEN 'stripe_webhook' ELSE 'metering' END
                 ELSE 'metering' END,
       CASE type WHEN 'storage_billing' THEN 'VOLUME' WHEN 'topup' THEN 'STRIPE_CHECKOUT_SESSION'
                 ELSE 'GPU_INSTANCE' END,
       ref::text, 'key_7', NULL,
       timestamptz '2025-01-01 00:00Z' + i * interval '20 s', timestamptz '2025-01-01 01:00Z' + i * interval '20 s',
       sha256(int8send(i))
FROM (
    SELECT i, die, i / 400 AS ref,
           CASE WHEN i % 2 = 1 THEN 1 ELSE 2 + i / 2 % ($1::bigint - 1) END AS account_id,
           CASE WHEN i % 2 = 1 THEN i / 2 ELSE i / 2 / ($1::bigint - 1) END + 1 AS seq,
           CASE WHEN die < 700 THEN 'gpu_usage' WHEN die < 930 THEN 'refund' WHEN die < 1000 THEN 'storage_billing'
                ELSE 'topup' END AS type
    FROM (SELECT i, hashint8(i) & 1023 AS die FROM generate_series($2::bigint, $3::bigint - 1) AS i)
)
"""

_HEADS: Final = """
UPDATE accounts SET head_seq = newest.seq, balance_nanos = newest.balance_after_nanos
FROM (SELECT DISTINCT ON (account_id) account_id, seq, balance_after_nanos
      FROM transactions ORDER BY account_id, seq DESC) AS newest
WHERE newest.account_id = id
"""


async def create(connection: Any, variant: Variant) -> None:
    def text(element: Any) -> str:
        return str(element.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]

    await connection.execute(f"CREATE SCHEMA {variant.schema}")
    await connection.execute(text(CreateTable(tables.accounts)))
    by_hash = " PARTITION BY HASH (account_id)" if variant.partitions else ""
    await connection.execute(text(CreateTable(tables.transactions)) + by_hash)
    for number in range(variant.partitions):
        await connection.execute(
            f"CREATE TABLE transactions_{number} PARTITION OF transactions"
            f" FOR VALUES WITH (MODULUS {variant.partitions}, REMAINDER {number})"
        )
    for index in sorted(tables.transactions.indexes, key=lambda index: str(index.name)):
        await connection.execute(text(CreateIndex(index)))


async def fill(connections: Connections, ledger: Ledger, figures: Figures) -> None:
    for variant in VARIANTS:
        async with connections.new(variant) as connection:
            await create(connection, variant)
            await connection.execute(
                "INSERT INTO accounts (name, created_at)"
                " SELECT 'Account ' || i, now() FROM generate_series(1, $1) AS i",
                ledger.accounts,
            )
    step = ledger.rows // FILL_STEPS
    for number in range(FILL_STEPS):
        first = number * step
        last = ledger.rows if number == FILL_STEPS - 1 else first + step
        for variant in in_turn(number):
            async with connections.new(variant) as connection:
                await connection.execute("CHECKPOINT")
                started_at = time.perf_counter()
                await connection.execute(_FILL, ledger.accounts, first, last)
                seconds = time.perf_counter() - started_at
                figures.add("bulk insert, rows/s", variant, (last - first) / seconds)
    for variant in VARIANTS:
        async with connections.new(variant) as connection:
            await connection.execute(_HEADS)
            await connection.execute("CHECKPOINT")
            started_at = time.perf_counter()
            await connection.execute("VACUUM (ANALYZE) transactions")
            figures.add("VACUUM ANALYZE after the fill, s", variant, time.perf_counter() - started_at)
            await connection.execute("VACUUM (ANALYZE) accounts")


_COLUMNS: Final = ", ".join(f"transactions.{column.name}" for column in tables.transactions.columns)
_NEWEST: Final = (
    f"SELECT {_COLUMNS} FROM transactions WHERE account_id = %s ORDER BY transactions.seq DESC LIMIT $2::bigint"
)


def _refunds(number: int, source: str) -> str:
    return (
        f"SELECT seq FROM (SELECT t.seq FROM transactions AS t WHERE t.account_id = $1::bigint AND t.type = 'refund'"
        f" AND t.source = '{source}' ORDER BY t.seq DESC LIMIT $2::bigint) AS run_{number}"
    )


@dataclass(frozen=True, slots=True)
class Read:
    """A statement of the same shape as the gateway's, bound parameters and all."""

    name: str
    statement: str
    arguments: Callable[[Ledger, int], tuple[Any, ...]]
    """Made from an account."""


def _listed(ledger: Ledger, account: int) -> list[int]:
    return [(account - 1 + number * 7) % ledger.accounts + 1 for number in range(LISTED_ACCOUNTS)]


READS: Final = (
    Read("newest page", _NEWEST % "$1::bigint", lambda _, account: (account, PAGE_ROWS)),
    Read(
        "middle page",
        _NEWEST.replace("ORDER", "AND seq < $3::bigint ORDER") % "$1::bigint",
        lambda ledger, account: (account, PAGE_ROWS, ledger.head(account) // 2),
    ),
    Read(
        "pages of 10 accounts",
        f"SELECT one.* FROM unnest($1::bigint[]) AS listed (id) CROSS JOIN LATERAL ({_NEWEST % 'listed.id'}) AS one",
        lambda ledger, account: (_listed(ledger, account), PAGE_ROWS),
    ),
    Read(
        "filtered page",
        f"SELECT {_COLUMNS} FROM (SELECT seq FROM ({_refunds(0, 'metering')} UNION ALL {_refunds(1, 'stripe_webhook')})"
        " AS merged ORDER BY seq DESC LIMIT $2::bigint) AS found JOIN transactions"
        " ON transactions.account_id = $1::bigint AND transactions.seq = found.seq"
        " ORDER BY transactions.seq DESC LIMIT $2::bigint",
        lambda _, account: (account, PAGE_ROWS),
    ),
)


def _some_account(ledger: Ledger, turn: int) -> int:
    """The largest every other time."""
    return 1 if turn % 2 else random.randint(2, ledger.accounts)


async def _milliseconds(statement: Any, arguments: tuple[Any, ...]) -> float:
    started_at = time.perf_counter()
    rows = await statement.fetch(*arguments)
    milliseconds = (time.perf_counter() - started_at) * 1000
    assert len(rows) in (PAGE_ROWS, LISTED_ACCOUNTS * PAGE_ROWS)
    return milliseconds


class Reader:
    """The connections that stay open for reading, each with its statements prepared and warm."""

    def __init__(self, connections: Connections, ledger: Ledger, figures: Figures) -> None:
        self._connections = connections
        self._ledger = ledger
        self._figures = figures
        self._stack = AsyncExitStack()
        self._open: dict[tuple[Variant, str], Any] = {}
        self._prepared: dict[tuple[Variant, str, Read], Any] = {}

    async def __aenter__(self) -> Reader:
        for variant in VARIANTS:
            for mode in ("auto", "force_generic_plan"):
                connection = await self._stack.enter_async_context(self._connections.new(variant, plan_cache_mode=mode))
                self._open[variant, mode] = connection
                for read in READS:
                    prepared = await connection.prepare(read.statement)
                    self._prepared[variant, mode, read] = prepared
                    for account in range(1, 2 * CUSTOM_EXECUTIONS):
                        await prepared.fetch(*read.arguments(self._ledger, account))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def round(self) -> None:
        for read in READS:
            for turn in range(READS_A_ROUND):
                arguments = read.arguments(self._ledger, _some_account(self._ledger, turn))
                for variant in in_turn(turn):
                    await self._run(read, variant, arguments)
            for turn in range(EXPLAINS_A_ROUND):
                arguments = read.arguments(self._ledger, _some_account(self._ledger, turn))
                for variant in in_turn(turn):
                    await self._explain(read, variant, arguments)
        for turn in range(NEW_CONNECTIONS_A_ROUND):
            for variant in in_turn(turn):
                await self._first_page_of_a_connection(variant)

    async def _run(self, read: Read, variant: Variant, arguments: tuple[Any, ...]) -> None:
        young = await self._open[variant, "auto"].prepare(read.statement)
        for _ in range(CUSTOM_EXECUTIONS):
            took = await _milliseconds(young, arguments)
            self._figures.add(f"{read.name}: executions 1 to 5, ms", variant, took)
        took = await _milliseconds(self._prepared[variant, "auto", read], arguments)
        self._figures.add(f"{read.name}: from the 6th on, ms", variant, took)
        took = await _milliseconds(self._prepared[variant, "force_generic_plan", read], arguments)
        self._figures.add(f"{read.name}: generic plan forced, ms", variant, took)

    async def _explain(self, read: Read, variant: Variant, arguments: tuple[Any, ...]) -> None:
        explained = await self._open[variant, "auto"].fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {read.statement}", *arguments
        )
        (found,) = json.loads(explained)
        buffers = found["Plan"]["Shared Hit Blocks"] + found["Plan"]["Shared Read Blocks"]
        self._figures.add(f"{read.name}: planning, ms", variant, found["Planning Time"])
        self._figures.add(f"{read.name}: buffers", variant, buffers)

    async def _first_page_of_a_connection(self, variant: Variant) -> None:
        async with self._connections.new(variant) as connection:
            started_at = time.perf_counter()
            await connection.fetch(READS[0].statement, *READS[0].arguments(self._ledger, 2))
            took = (time.perf_counter() - started_at) * 1000
            self._figures.add("first page of a new connection, ms", variant, took)

    async def locks_and_memory(self) -> None:
        for variant in VARIANTS:
            for mode, plan in (("auto", "planned anew"), ("force_generic_plan", "generic plan")):
                connection = self._open[variant, mode]
                for read in READS:
                    fresh = await connection.prepare(read.statement)
                    prepared = fresh if mode == "auto" else self._prepared[variant, mode, read]
                    async with connection.transaction():
                        await prepared.fetch(*read.arguments(self._ledger, 2))
                        count = await connection.fetchval(_LOCKS)
                    self._figures.add(f"{read.name}: relations locked, {plan}", variant, count)
        for variant in VARIANTS:
            connection = self._open[variant, "auto"]
            for read in READS:
                kept = await connection.fetchval(_KEPT_GENERIC, self._prepared[variant, "auto", read].get_name())
                self._figures.add(f"{read.name}: generic plan kept from the 6th on (1 = yes)", variant, kept)
        for mode in ("auto", "force_generic_plan"):
            for variant in VARIANTS:
                memory = await self._open[variant, mode].fetchval(_MEMORY)
                self._figures.add(f"memory of a reading backend, {mode}, MB", variant, memory / 1e6)


_LOCKS: Final = """
SELECT count(DISTINCT relation) FROM pg_locks JOIN pg_class ON pg_class.oid = relation
WHERE pid = pg_backend_pid() AND relnamespace = current_schema()::regnamespace
"""
_KEPT_GENERIC: Final = "SELECT (generic_plans > 0)::int FROM pg_prepared_statements WHERE name = $1"
_MEMORY: Final = "SELECT sum(total_bytes)::float8 FROM pg_backend_memory_contexts"

_INSERT: Final = f"""
INSERT INTO transactions ({", ".join(TransactionRow._fields)})
VALUES ({", ".join(f"${number}" for number in range(1, len(TransactionRow._fields) + 1))})
"""


async def post(connection: Any, account: int) -> None:
    """One ledger row, with the statements that it can't do without."""
    amount = -1_000_000
    now = datetime.now(UTC)
    head = await connection.fetchrow(
        "SELECT head_seq, balance_nanos FROM accounts WHERE id = $1 FOR NO KEY UPDATE", account
    )
    seq, balance, digest = head[0] + 1, head[1] + amount, random.randbytes(32)
    await connection.execute(
        _INSERT,
        *(account, seq, now, "gpu_usage", amount, balance, "GPU Instance #132: hold per-GPU × 1 GPU × 1h"),
        *("metering", "GPU_INSTANCE", "132", "key_7", None, now, now, digest),
    )
    await connection.execute(
        "UPDATE accounts SET head_seq = $2, head_at = $3, head_hash = $4, balance_nanos = $5 WHERE id = $1",
        *(account, seq, now, digest, balance),
    )


async def posting_round(connections: Connections, ledger: Ledger, figures: Figures, number: int) -> None:
    for variant in in_turn(number):
        async with AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(connections.new(variant)) for _ in range(POSTING_CONNECTIONS)]
            await _post_for_a_while(opened, variant, ledger, figures)
            locks = await _locks_of_posting(opened[0])
            figures.add("posting: relations locked", variant, locks)
            started_at = time.perf_counter()
            await opened[0].execute("VACUUM transactions")
            figures.add("VACUUM after postings, s", variant, time.perf_counter() - started_at)


async def _post_for_a_while(opened: list[Any], variant: Variant, ledger: Ledger, figures: Figures) -> None:
    async def transact(connection: Any) -> None:
        async with connection.transaction():
            await post(connection, random.randint(1, ledger.accounts))

    for connection in opened:
        for _ in range(2 * CUSTOM_EXECUTIONS):
            await transact(connection)
    await opened[0].execute("CHECKPOINT")
    ends_at = time.perf_counter() + POSTING_SECONDS
    took: list[float] = []

    async def work(connection: Any) -> None:
        while (started_at := time.perf_counter()) < ends_at:
            await transact(connection)
            took.append(time.perf_counter() - started_at)

    async with asyncio.TaskGroup() as group:
        for connection in opened:
            group.create_task(work(connection))
    figures.add("posting: transactions/s", variant, len(took) / POSTING_SECONDS)
    figures.add("posting: median transaction, ms", variant, statistics.median(took) * 1000)


async def _locks_of_posting(connection: Any) -> int:
    async with connection.transaction():
        await post(connection, 2)
        return int(await connection.fetchval(_LOCKS))


async def sizes(connections: Connections, figures: Figures) -> None:
    for variant in VARIANTS:
        async with connections.new(variant) as connection:
            for figure, function in (("indexes, MB", "pg_indexes_size"), ("table, MB", "pg_table_size")):
                size = await connection.fetchval(
                    f"SELECT sum({function}(oid))::float8 FROM pg_class WHERE relkind = 'r'"
                    " AND relnamespace = current_schema()::regnamespace AND relname LIKE 'transactions%'"
                )
                figures.add(figure, variant, size / 1e6)


async def measure(server: Postgres, ledger: Ledger, figures: Figures) -> None:
    # Vacuum runs where it is measured and checkpoints between measurements, not when they happen to be due.
    await server.execute("ALTER SYSTEM SET autovacuum = off")
    await server.execute("ALTER SYSTEM SET max_wal_size = '16GB'")
    await server.execute("SELECT pg_reload_conf()")
    connections = Connections(server, await server.new_database())
    await fill(connections, ledger, figures)
    await sizes(connections, figures)
    async with Reader(connections, ledger, figures) as reader:
        for _ in range(ROUNDS):
            await reader.round()
        await reader.locks_and_memory()
    for number in range(ROUNDS):
        await posting_round(connections, ledger, figures, number)
    async with connections.new(VARIANTS[0]) as connection:
        version, fsync = await connection.fetchval("SHOW server_version"), await connection.fetchval("SHOW fsync")
    print(f"PostgreSQL {version}, fsync {fsync}, {ledger.rows:,} rows over {ledger.accounts:,} accounts\n")


async def measure_in_time(server: Postgres, ledger: Ledger, figures: Figures) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        await measure(server, ledger, figures)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure transactions plain and hash partitioned.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=100)
    options = parser.parse_args()
    ledger = Ledger(options.rows, options.accounts)
    # About every fourth row is a refund, and a page of them has to be full.
    if ledger.accounts <= LISTED_ACCOUNTS or ledger.head(2) < 8 * PAGE_ROWS:
        parser.error(f"needs over {LISTED_ACCOUNTS} accounts, and {8 * PAGE_ROWS} rows for each after half went to one")
    random.seed(1)
    figures = Figures()
    started_at = time.perf_counter()
    with started() as server:
        uvloop.run(measure_in_time(server, ledger, figures))
    print("\n".join(figures.lines()))
    print(f"\n{time.perf_counter() - started_at:.0f} s in all")


if __name__ == "__main__":
    main()
