"""Shard tables: what a database knows of the set that it belongs to, the directory of shard 0, and moved accounts.

Without `BILLING_SHARDS` all of them are empty.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, LargeBinary, PrimaryKeyConstraint, Table

from db.tables import metadata, name, timestamp

shard_membership = Table(
    "shard_membership",
    metadata,
    Column("id", BigInteger(), primary_key=True, autoincrement=False),
    Column("set_id", name(), nullable=False),
    Column("number", BigInteger(), nullable=False),
    CheckConstraint("id = 1", name="one_row"),
    CheckConstraint("number >= 0", name="number"),
)

# On shard 0: the shards of the set, with the number of accounts that were placed on each.
shards = Table(
    "shards",
    metadata,
    Column("number", BigInteger(), nullable=False, autoincrement=False),
    Column("accounts", BigInteger(), nullable=False),
    PrimaryKeyConstraint("number"),
    CheckConstraint("number >= 0 AND accounts >= 0", name="numbers"),
)

# On shard 0: the shard that decides whether an external id is taken.
shard_external_ids = Table(
    "shard_external_ids",
    metadata,
    Column("external_id", name(), nullable=False),
    Column("number", BigInteger(), nullable=False),
    PrimaryKeyConstraint("external_id"),
    sqlite_with_rowid=False,
)

# On shard 0: the shard that a call of createAccount was sent to.
shard_creations = Table(
    "shard_creations",
    metadata,
    Column("key", name(), nullable=False),
    Column("payload_digest", LargeBinary(), nullable=False),
    Column("number", BigInteger(), nullable=False),
    Column("created_at", timestamp(), nullable=False),
    PrimaryKeyConstraint("key"),
    sqlite_with_rowid=False,
)

# On each shard that an account has left or come to: where it is. A larger number of moves is the later word.
moved_accounts = Table(
    "moved_accounts",
    metadata,
    Column("account_id", BigInteger(), nullable=False, autoincrement=False),
    Column("number", BigInteger(), nullable=False),
    Column("moves", BigInteger(), nullable=False),
    PrimaryKeyConstraint("account_id"),
    CheckConstraint("number >= 0 AND moves >= 1", name="numbers"),
)

# Moves that have begun, on both shards, each with the number of the other one.
account_moves = Table(
    "account_moves",
    metadata,
    Column("account_id", BigInteger(), nullable=False, autoincrement=False),
    Column("direction", name(), nullable=False),
    Column("number", BigInteger(), nullable=False),
    Column("moves", BigInteger(), nullable=False),
    PrimaryKeyConstraint("account_id"),
    CheckConstraint("direction IN ('leaving', 'arriving')", name="direction"),
    CheckConstraint("number >= 0 AND moves >= 1", name="numbers"),
)

# On shard 0: the account that a Stripe customer belongs to. Written before the account's shard links the customer.
shard_stripe_customers = Table(
    "shard_stripe_customers",
    metadata,
    Column("customer", name(), nullable=False),
    # The account may be on any shard.
    Column("account_id", BigInteger(), nullable=False),
    PrimaryKeyConstraint("customer"),
    sqlite_with_rowid=False,
)

# On shard 0: the shard that applies a Stripe event. Null while no shard knows what the event names: shard 0 keeps it.
shard_stripe_events = Table(
    "shard_stripe_events",
    metadata,
    Column("id", name(), nullable=False),
    Column("number", BigInteger()),
    PrimaryKeyConstraint("id"),
    sqlite_with_rowid=False,
)
