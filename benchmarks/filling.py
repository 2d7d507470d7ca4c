"""A ledger of many rows that holds together: balances, monthly figures and usage agree with each other.

The rows of the accounts come in turn, as they would in time, and end with the moment of filling. Types, amounts and
descriptions are drawn by hashes of the row's number, so that every fill holds the same. Only the hash chain is made
up: nothing that is measured reads it.
"""

from __future__ import annotations

import secrets
import sqlite3
import string
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg

from access.keys import KeyScope, digest_of
from db import tables
from db.database import Database, DatabaseOptions, sqlite_url
from db.schema_version import migrate

USAGE_DAYS: Final = 40
USAGE_MODELS: Final = 5
OWNER: Final = "benchmarks"
_BATCH: Final = 20_000
_STEP: Final = 1_000_000
"""Rows that are made by one statement, which sorts them twice on disk."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# (rows of 1,000, type, source, ref type, number of resources, smallest and largest amount in cents)
_KINDS: Final = (
    (400, "gpu_usage", "metering", "gpu_instance", 900, -900, -10),
    (100, "gpu_usage", "metering", "inference_instance", 40, -2_400, -300),
    (80, "gpu_usage", "metering", "api_usage", 500, -30, -1),
    (250, "refund", "metering", "gpu_instance", 900, 1, 600),
    (20, "refund", "stripe_webhook", "stripe_refund", 5_000, 1, 900),
    (80, "storage_billing", "storage_worker", "volume", 8, -60, -1),
    (50, "topup", "stripe_webhook", "stripe_checkout_session", 5_000, 1_000, 12_000),
    (20, "auto_recharge", "stripe_webhook", "stripe_payment_intent", 5_000, 5_000, 5_000),
)

_ACCOUNTS: Final = """
INSERT INTO accounts (id, external_id, name, created_at)
SELECT id, 'customer-' || id, 'Customer ' || id, $2::timestamptz - interval '400 days'
FROM generate_series(1, $1::bigint) AS id
"""

# The account and the `seq` of the row at a position: all accounts in turn, or the first one every other time.
_EVENLY: Final = ("position % $1::bigint + 1", "position / $1::bigint + 1")
_HALF_TO_THE_FIRST: Final = (
    "CASE position % 2 WHEN 0 THEN 1 ELSE position / 2 % ($1::bigint - 1) + 2 END",
    "CASE position % 2 WHEN 0 THEN position / 2 ELSE position / 2 / ($1::bigint - 1) END + 1",
)

# Those from position $4 to $5 of a year of $2 rows that ends with $3.
_ROWS: Final = """
INSERT INTO transactions (account_id, seq, created_at, type, amount_nanos, balance_after_nanos, description, source,
                          ref_type, ref_id, actor, corrects_seq, period_start, period_end, hash)
SELECT account_id, seq, placed.created_at, type, amount_nanos,
       (balance_nanos + sum(amount_nanos) OVER (PARTITION BY account_id ORDER BY seq))::bigint,
       CASE type WHEN 'gpu_usage' THEN 'GPU Instance #' || resource || ': hold per-GPU × 1 GPU × 1h'
                 WHEN 'refund' THEN 'GPU Instance #' || resource || ': refund of the unused part'
                 WHEN 'storage_billing' THEN 'Cloud drive #' || resource || ': 100 GB for a day'
                 ELSE 'Stripe Checkout cs_live_' || position END,
       source, ref_type, ref_type || '-' || resource, 'eco_services',
       CASE WHEN ref_type = 'stripe_refund' AND seq > 3 THEN seq - 3 END,
       CASE WHEN source IN ('metering', 'storage_worker') THEN placed.created_at - interval '1 hour' END,
       CASE WHEN source IN ('metering', 'storage_worker') THEN placed.created_at END,
       sha256(int8send(position))
FROM (
    SELECT position, {account} AS account_id, {seq} AS seq,
           $3::timestamptz - ($2::bigint - position) * (interval '365 days' / $2::bigint) AS created_at,
           kinds.type, kinds.source, kinds.ref_type,
           (low + (drawn / 1024) % (high - low + 1))
               * CASE WHEN kinds.ref_type = 'api_usage' THEN 12345 ELSE 10000000 END AS amount_nanos,
           (drawn / 65536) % resources AS resource
    FROM (SELECT position, hashint8extended(position, 7) & 9007199254740991 AS drawn
          FROM generate_series($4::bigint, $5::bigint) AS position) AS numbered
    JOIN kinds ON kinds.slot = drawn % 1000
) AS placed
JOIN accounts ON id = account_id
ORDER BY position
"""

_HEADS: Final = """
UPDATE accounts SET head_seq = newest.seq, head_at = newest.created_at, head_hash = newest.hash,
                    balance_nanos = newest.balance_after_nanos
FROM accounts AS each, LATERAL (
    SELECT account_id, seq, created_at, hash, balance_after_nanos
    FROM transactions WHERE account_id = each.id ORDER BY seq DESC LIMIT 1
) AS newest
WHERE accounts.id = newest.account_id
"""

_USAGE: Final = """
INSERT INTO usage_days (account_id, day, model, category, origin, calls, input_tokens, output_tokens, cost_nanos,
                        fed_by)
SELECT id, $1::date - day, 'vendor/model-' || model,
       CASE model WHEN 4 THEN 'embedding' WHEN 5 THEN 'image' ELSE 'chat' END,
       CASE model WHEN 3 THEN 'user_inference' ELSE 'platform' END,
       1 + drawn % 900, drawn % 700000000, drawn % 90000000, drawn % 3000000 * 1234, 'rollup'
FROM (SELECT id, day, model, hashint8extended(id * 1000000 + day * 1000 + model, 11) & 9007199254740991 AS drawn
      FROM accounts, generate_series(0, $2::int - 1) AS day, generate_series(1, $3::int) AS model) AS placed
ORDER BY day DESC, id
"""

_MONTHS: Final = """
INSERT INTO monthly_figures (account_id, month, gross_nanos, refunded_nanos, platform_calls, user_inference_calls,
                             tokens)
SELECT account_id, month, sum(gross), sum(refunded), sum(platform), sum(inference), sum(tokens)
FROM (
    SELECT account_id, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM') AS month,
           CASE WHEN type IN ('gpu_usage', 'storage_billing') THEN -amount_nanos ELSE 0 END AS gross,
           CASE WHEN type = 'refund' AND source = 'metering' THEN amount_nanos ELSE 0 END AS refunded,
           0 AS platform, 0 AS inference, 0 AS tokens
    FROM transactions
    UNION ALL
    SELECT account_id, to_char(day, 'YYYY-MM'), 0, 0,
           CASE origin WHEN 'platform' THEN calls ELSE 0 END, CASE origin WHEN 'user_inference' THEN calls ELSE 0 END,
           CASE WHEN category IN ('chat', 'embedding') THEN input_tokens + output_tokens ELSE 0 END
    FROM usage_days
) AS one
GROUP BY account_id, month
"""


_CORRECTIONS: Final = """
SELECT coalesce(max(seq), 1) FROM accounts LEFT JOIN transactions ON account_id = id AND corrects_seq IS NOT NULL
GROUP BY id ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class Filled:
    """A filled database, and the keys that open it."""

    url: str
    rows: int
    accounts: int
    until: datetime
    account_keys: tuple[str, ...]
    """Of account 1, 2, …"""
    operator_key: str
    corrections: tuple[int, ...]
    """Of account 1, 2, … the `seq` of a row that answers another one."""

    @property
    def rows_of_one(self) -> int:
        return self.rows // self.accounts


def new_key() -> str:
    return f"eco_{''.join(secrets.choice(string.ascii_lowercase) for _ in range(8))}_{secrets.token_urlsafe(24)}"


async def insert_keys(connection: Any, keys: dict[str, int | None]) -> None:
    """Each key with its account; an operator's has none."""
    now = datetime.now(UTC)
    await connection.executemany(
        "INSERT INTO api_keys (prefix, digest, scope, account_id, owner, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        [
            (key[:12], digest_of(key), (KeyScope.READ if account else KeyScope.OPERATOR).value, account, OWNER, now)
            for key, account in keys.items()
        ],
    )


async def insert_accounts(connection: Any, accounts: int, until: datetime) -> None:
    """Inserts accounts 1, 2, … that are 400 days old."""
    await connection.execute(_ACCOUNTS, accounts, until)
    await connection.execute("SELECT setval(pg_get_serial_sequence('accounts', 'id'), $1)", accounts)


async def _insert_rows(connection: Any, accounts: int, rows: int, until: datetime, places: tuple[str, str]) -> None:
    """An index is built in a fraction of the time that its upkeep takes row by row."""
    await connection.execute(
        "CREATE TEMPORARY TABLE kinds (slot bigint, type text, source text, ref_type text, resources bigint,"
        " low bigint, high bigint)"
    )
    slots = enumerate(kind for share, *kind in _KINDS for _ in range(share))
    await connection.copy_records_to_table("kinds", records=[(slot, *kind) for slot, kind in slots])
    await connection.execute("ANALYZE kinds")
    indexes = await connection.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'transactions' AND indexname LIKE 'ix%'"
    )
    for index in indexes:
        await connection.execute(f'DROP INDEX "{index["indexname"]}"')
    account, seq = places
    statement = _ROWS.format(account=account, seq=seq)
    for start in range(0, rows, _STEP):
        await connection.execute(statement, accounts, rows, until, start, min(start + _STEP, rows) - 1)
        await connection.execute(_HEADS)
    for index in indexes:
        await connection.execute(index["indexdef"])


async def migrated(url: str) -> None:
    database = Database(DatabaseOptions(url))
    try:
        await migrate(database)
    finally:
        await database.close()


async def fill(url: str, *, rows: int, accounts: int, half_to_the_first: bool = False) -> Filled:
    """Migrates and fills an empty PostgreSQL database. All accounts have as many rows, or account 1 half of them."""
    await migrated(url)
    until = datetime.now(UTC).replace(microsecond=0)
    keys = tuple(new_key() for _ in range(accounts))
    operator = new_key()
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET maintenance_work_mem = '256MB'; SET work_mem = '64MB'; SET timezone = 'UTC'")
        # Keeps the foreign keys from being looked up a million times.
        await connection.execute("SET session_replication_role = replica")
        await insert_accounts(connection, accounts, until)
        await _insert_rows(connection, accounts, rows, until, _HALF_TO_THE_FIRST if half_to_the_first else _EVENLY)
        await connection.execute(_USAGE, until.date(), USAGE_DAYS, USAGE_MODELS)
        await connection.execute(_MONTHS)
        by_account: dict[str, int | None] = {key: number for number, key in enumerate(keys, 1)}
        await insert_keys(connection, {**by_account, operator: None})
        answering = await connection.fetch(_CORRECTIONS)
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
    return Filled(url, rows, accounts, until, keys, operator, tuple(row[0] for row in answering))


def _for_sqlite(value: object) -> object:
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(microseconds=1)
    return value.isoformat() if isinstance(value, date) else value


async def _batches(connection: Any, statement: str) -> AsyncIterator[list[tuple[object, ...]]]:
    async with connection.transaction():
        cursor = await connection.cursor(statement)
        while batch := await cursor.fetch(_BATCH):
            yield [tuple(map(_for_sqlite, row)) for row in batch]


async def copy_to_sqlite(filled: Filled, path: Path) -> Filled:
    """The same rows and keys in a new SQLite file."""
    await migrated(sqlite_url(path))
    source = await asyncpg.connect(filled.url)
    target = sqlite3.connect(path)
    try:
        target.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -262144")
        indexes = target.execute(
            "SELECT name, sql FROM sqlite_master WHERE tbl_name = 'transactions' AND name LIKE 'ix%'"
        ).fetchall()
        for name, _ in indexes:
            target.execute(f"DROP INDEX {name}")
        for name in ("accounts", "transactions", "usage_days", "monthly_figures", "api_keys"):
            table = tables.metadata.tables[name]
            columns = ", ".join(table.columns.keys())
            order = ", ".join(table.primary_key.columns.keys())
            marks = ", ".join("?" for _ in table.columns)
            async for batch in _batches(source, f"SELECT {columns} FROM {name} ORDER BY {order}"):
                target.executemany(f"INSERT INTO {name} ({columns}) VALUES ({marks})", batch)
        for _, statement in indexes:
            target.execute(statement)
        target.commit()
        target.execute("ANALYZE")
        target.commit()
    finally:
        target.close()
        await source.close()
    return replace(filled, url=sqlite_url(path))
