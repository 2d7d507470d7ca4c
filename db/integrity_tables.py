"""Integrity tables: daily checkpoints of all heads, and the progress of verification."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Date, ForeignKey, LargeBinary, PrimaryKeyConstraint, Table

from db.tables import metadata, timestamp

ledger_checkpoints = Table(
    "ledger_checkpoints",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    # The UTC day on which the head was noted. A day on which the head had not moved since the last one has no row.
    Column("day", Date(), nullable=False),
    Column("seq", BigInteger(), nullable=False),
    Column("hash", LargeBinary(), nullable=False),
    PrimaryKeyConstraint("account_id", "day"),
    CheckConstraint("seq >= 1", name="seq"),
    CheckConstraint("length(hash) = 32", name="hash"),
    sqlite_with_rowid=False,
)

verification_runs = Table(
    "verification_runs",
    metadata,
    # The UTC day on which the run was due.
    Column("day", Date(), nullable=False),
    Column("started_at", timestamp(), nullable=False),
    # The last account that was verified: accounts are verified in the order of their ids. 0 before the first.
    Column("account_id", BigInteger(), nullable=False),
    Column("accounts", BigInteger(), nullable=False),
    Column("faults", BigInteger(), nullable=False),
    Column("finished_at", timestamp()),
    PrimaryKeyConstraint("day"),
    sqlite_with_rowid=False,
)
