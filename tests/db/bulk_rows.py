"""A long ledger, written by the server itself: posting a million rows one by one would take an hour.

`PAGE_COST_ROWS` is the number of rows of its big account. All shares, the time from the first row to the last and the
number of rare rows are the same for each number.
"""

from __future__ import annotations

import os
from typing import Final

import asyncpg

BIG: Final = 1
BIG_ROWS: Final = int(os.environ.get("PAGE_COST_ROWS", "500000"))

SMALL: Final = 2
"""An account of few rows, which lie among others' as densely as the big account's do."""
SMALL_ROWS: Final = 1_000

FIRST_OTHER: Final = 3
OTHERS: Final = 200

# Of four rows that follow each other in the table, three are the big account's and one is another account's. In one
# stretch the small account stands in for the big one: from this row of the big account on.
_SMALL_FROM: Final = BIG_ROWS * 8 // 10
_GROUPS: Final = (BIG_ROWS + SMALL_ROWS + 2) // 3

# (rows of 1,000, type, source, ref type, number of resources, smallest and largest amount in cents)
_BIG_KINDS: Final = (
    (400, "gpu_usage", "metering", "gpu_instance", 90_000, -9_000, -10),
    (150, "gpu_usage", "metering", "inference_instance", 40, -30_000, -2_400),
    (50, "gpu_usage", "metering", "api_usage", 500, -300, -1),
    (250, "refund", "metering", "gpu_instance", 90_000, 1, 8_000),
    (30, "refund", "metering", "inference_instance", 40, 1, 20_000),
    (50, "storage_billing", "storage_worker", "volume", 8, -60, -1),
    (20, "storage_billing", "storage_worker", "shared_filesystem", 3, -90, -1),
    (30, "topup", "stripe_webhook", "stripe_checkout_session", 50_000, 1_000, 100_000),
    (20, "auto_recharge", "stripe_webhook", "stripe_payment_intent", 50_000, 5_000, 5_000),
)
# Kinds that all tables are full of, and the big account has a few dozen rows of.
_RARE_KINDS: Final = (
    (250, "admin_correction", "admin_correction", "stripe_refund", 50, -500, -1),
    (250, "refund", "stripe_webhook", "stripe_refund", 50, 1, 900),
    (250, "bonus", "promotion", "promotion", 5, 1_000, 1_000),
    (250, "contract_grant", "contract", "contract", 7, 100_000, 200_000),
)
RARE_EVERY: Final = BIG_ROWS // 125

DISPUTED_EVERY: Final = BIG_ROWS // 200
"""Each of so many rows has the word "Disputed" in its description."""

_SECONDS_BETWEEN: Final = 43 * 1_000_000 // BIG_ROWS

_FILL: Final = f"""
INSERT INTO transactions (account_id, seq, created_at, type, amount_nanos, balance_after_nanos, description, source,
                          ref_type, ref_id, actor, hash)
SELECT account_id, seq, timestamptz '2024-01-01 00:00:00+00' + position * interval '{_SECONDS_BETWEEN} seconds', type,
       -- The price of inference instances was once fixed: one amount, of old rows alone.
       CASE WHEN ref_type = 'inference_instance' AND amount < 0 AND position < {BIG_ROWS * 3 // 10} THEN -31111
            ELSE amount END
           * 10000000::bigint,
       0,
       type || ' for ' || ref_type || ' #' || resource
           || CASE WHEN seq % {DISPUTED_EVERY} = 1 THEN ', Disputed' ELSE '' END,
       source, ref_type, ref_type || '-' || resource, 'eco_services', decode(repeat('00', 32), 'hex')
FROM (
    SELECT placed.*, kinds.type, kinds.source, kinds.ref_type,
           low + (random_number / 1024) % (high - low + 1) AS amount,
           (random_number / 65536) % resources AS resource
    FROM (
        SELECT position,
               CASE WHEN position % 4 = 3 THEN {FIRST_OTHER} + position / 4 % {OTHERS}
                    WHEN nth > {_SMALL_FROM} AND nth <= {_SMALL_FROM + SMALL_ROWS} THEN {SMALL}
                    ELSE {BIG} END AS account_id,
               CASE WHEN position % 4 = 3 THEN position / 4 / {OTHERS} + 1
                    WHEN nth <= {_SMALL_FROM} THEN nth
                    WHEN nth <= {_SMALL_FROM + SMALL_ROWS} THEN nth - {_SMALL_FROM}
                    ELSE nth - {SMALL_ROWS} END AS seq,
               position % 4 = 3 OR nth % {RARE_EVERY} = 7 AS rare,
               random_number
        FROM (
            SELECT position, position / 4 * 3 + position % 4 + 1 AS nth,
                   hashint8extended(position, 7) & 9007199254740991 AS random_number
            FROM generate_series(0, {_GROUPS * 4 - 1}::bigint) AS position
        ) AS numbered
        WHERE position % 4 = 3 OR nth <= {BIG_ROWS + SMALL_ROWS}
    ) AS placed
    JOIN kinds ON kinds.rare = placed.rare AND kinds.slot = random_number % 1000
) AS drawn
"""

_HEADS: Final = """
UPDATE accounts SET head_seq = newest.seq, head_at = newest.created_at, head_hash = newest.hash
FROM (SELECT DISTINCT ON (account_id) account_id, seq, created_at, hash
      FROM transactions WHERE account_id = any($1::bigint[]) ORDER BY account_id, seq DESC) AS newest
WHERE id = newest.account_id
"""

_MONTHS: Final = """
INSERT INTO monthly_figures (account_id, month, gross_nanos, platform_calls, tokens)
SELECT account, to_char(timestamp '2024-01-01' + month * interval '1 month', 'YYYY-MM'), 5, 6, 7
FROM unnest($1::bigint[]) AS account, generate_series(0, 21) AS month
"""

_USAGE: Final = """
INSERT INTO usage_days (account_id, day, model, category, origin, calls, input_tokens, output_tokens, cost_nanos,
                        fed_by)
SELECT account, date '2025-06-01' + day, 'model-' || model, 'chat', 'platform', 1, 2, 3, 4, 'rollup'
FROM generate_series(0, 89) AS day, unnest($1::bigint[]) AS account, generate_series(1, 5) AS model
"""

# Inserted in the order in which they were opened, as charges are; one in a hundred runs, one in a thousand expired.
# GPU instances are opened all the time, the few other resources were long ago.
_CHARGES: Final = """
INSERT INTO charges (account_id, ref_type, ref_id, state, held_nanos, refunded_nanos, overage_nanos, billed_nanos,
                     cycles, first_seq, last_seq, opened_at)
SELECT account_id, ref_type, ref_id,
       CASE WHEN hashtext(ref_id) & 1023 = 0 THEN 'expired'
            WHEN hashtext(ref_id) & 127 = 1 THEN 'open'
            ELSE 'settled' END,
       5, 2, 0, 0, 1, first_seq, last_seq, opened_at
FROM (
    SELECT account_id, 'gpu_instance' AS ref_type, 'instance-' || seq AS ref_id, seq AS first_seq, seq + 3 AS last_seq,
           created_at AS opened_at
    FROM transactions WHERE seq % 8 = 5 AND ref_type NOT IN ('inference_instance', 'volume', 'shared_filesystem')
    UNION ALL
    SELECT account_id, ref_type, ref_id, min(seq), max(seq), min(created_at)
    FROM transactions WHERE ref_type IN ('inference_instance', 'volume', 'shared_filesystem')
    GROUP BY account_id, ref_type, ref_id
) AS of_resources
ORDER BY opened_at
"""

_HOLDS: Final = """
INSERT INTO holds (account_id, hold_seq, ref_type, ref_id, cycle, held_nanos, month, state, period_start, period_end,
                   used_nanos, settled_seq, settled_at)
SELECT account_id, first_seq, ref_type, ref_id, 1, 5, '2024-01', 'settled', opened_at, opened_at, 3,
       CASE ref_type WHEN 'gpu_instance' THEN last_seq END, opened_at
FROM charges ORDER BY opened_at
"""


def _slots() -> list[tuple[object, ...]]:
    return [
        (rare, slot, *kind)
        for rare, kinds in ((False, _BIG_KINDS), (True, _RARE_KINDS))
        for slot, kind in enumerate(kind for share, *kind in kinds for _ in range(share))
    ]


async def _without_indexes(connection: asyncpg.Connection, statement: str) -> None:
    """An index is built in a fraction of the time that its upkeep takes row by row."""
    indexes = await connection.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'transactions' AND indexname LIKE 'ix%'"
    )
    for index in indexes:
        await connection.execute(f'DROP INDEX "{index["indexname"]}"')
    key = await connection.fetchval(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'pk_transactions'"
    )
    await connection.execute("ALTER TABLE transactions DROP CONSTRAINT pk_transactions")
    await connection.execute(statement)
    await connection.execute(f"ALTER TABLE transactions ADD CONSTRAINT pk_transactions {key}")
    for index in indexes:
        await connection.execute(index["indexdef"])


async def fill(connection: asyncpg.Connection) -> None:
    """Fills a migrated, empty database. Balances are left at zero."""
    accounts = list(range(1, FIRST_OTHER + OTHERS))
    await connection.execute("SET maintenance_work_mem = '256MB'; SET synchronous_commit = off")
    # Keeps the foreign key from being looked up a million times.
    await connection.execute("SET session_replication_role = replica")
    await connection.execute("ALTER TABLE transactions SET UNLOGGED")
    await connection.execute(
        "INSERT INTO accounts (id, name, created_at)"
        " SELECT id, 'Account', '2024-01-01Z' FROM unnest($1::bigint[]) AS id",
        accounts,
    )
    await connection.execute(
        "CREATE TEMPORARY TABLE kinds (rare boolean, slot bigint, type text, source text, ref_type text,"
        " resources bigint, low bigint, high bigint)"
    )
    await connection.copy_records_to_table("kinds", records=_slots())
    await connection.execute("ANALYZE kinds")
    await _without_indexes(connection, _FILL)
    for statement in (_HEADS, _MONTHS, _USAGE):
        await connection.execute(statement, accounts)
    await connection.execute(_CHARGES)
    await connection.execute(_HOLDS)
    await connection.execute("VACUUM ANALYZE")
