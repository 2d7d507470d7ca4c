"""Volume tables: the rates of volumes and inference instances over time, and how far they are billed."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    PrimaryKeyConstraint,
    Table,
    text,
)

from db.tables import metadata, name, timestamp

_DUE = text("next_day IS NOT NULL")

rates = Table(
    "rates",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("ref_type", name(), nullable=False),
    Column("ref_id", name(), nullable=False),
    # In force from this moment until the next rate of the same resource. Kept, because a day or cycle that is billed
    # late is billed at the rates of its time.
    Column("since", timestamp(), nullable=False),
    # GiB of a volume, GPUs of an instance.
    Column("quantity", BigInteger(), nullable=False),
    # Nano-dollars per unit: per day for a volume, per hour for an instance.
    Column("price_nanos", BigInteger(), nullable=False),
    PrimaryKeyConstraint("account_id", "ref_type", "ref_id", "since"),
    CheckConstraint("quantity > 0 AND price_nanos >= 0", name="not_negative"),
    sqlite_with_rowid=False,
)

volumes = Table(
    "volumes",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("ref_type", name(), nullable=False),
    Column("ref_id", name(), nullable=False),
    Column("created_at", timestamp(), nullable=False),
    Column("deleted_at", timestamp()),
    # The oldest UTC day that is not billed; null once a deleted volume's last day is billed.
    Column("next_day", Date()),
    # Of all its rows.
    Column("api_key", name()),
    Column("project", name()),
    PrimaryKeyConstraint("account_id", "ref_type", "ref_id"),
    Index("ix_volumes_next_day", "next_day", "account_id", postgresql_where=_DUE, sqlite_where=_DUE),
    CheckConstraint("ref_type IN ('volume', 'shared_filesystem')", name="ref_type"),
    CheckConstraint("deleted_at >= created_at", name="deleted_at"),
    CheckConstraint("next_day IS NOT NULL OR deleted_at IS NOT NULL", name="next_day"),
    sqlite_with_rowid=False,
)

inference_instances = Table(
    "inference_instances",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("ref_id", name(), nullable=False),
    # When its service last reported that it runs. An instance without reports is not renewed.
    Column("reported_at", timestamp(), nullable=False),
    # When its next cycle could not be paid. Its service must stop it.
    Column("to_stop_since", timestamp()),
    PrimaryKeyConstraint("account_id", "ref_id"),
    sqlite_with_rowid=False,
)
