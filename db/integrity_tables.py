"""Integrity tables: daily checkpoints of all heads, the progress of verification, and proofs of archived rows."""

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

ledger_archives = Table(
    "ledger_archives",
    metadata,
    # A file of the archive that was read back and compared with its rows. Only rows of such a file can leave the table
    # `transactions`, and a proof stays for ever, also if the rows are restored.
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("first_seq", BigInteger(), nullable=False),
    Column("last_seq", BigInteger(), nullable=False),
    # The times of the first and the last row.
    Column("first_at", timestamp(), nullable=False),
    Column("last_at", timestamp(), nullable=False),
    # The hash of the row before the first one, and that of the last row.
    Column("previous_hash", LargeBinary(), nullable=False),
    Column("last_hash", LargeBinary(), nullable=False),
    # The digest of the file's bytes, which its name has.
    Column("sha256", LargeBinary(), nullable=False),
    Column("proven_at", timestamp(), nullable=False),
    PrimaryKeyConstraint("account_id", "first_seq"),
    CheckConstraint("first_seq >= 1 AND last_seq >= first_seq", name="seq"),
    CheckConstraint("length(previous_hash) = 32 AND length(last_hash) = 32 AND length(sha256) = 32", name="hashes"),
    sqlite_with_rowid=False,
)
