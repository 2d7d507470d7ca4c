"""Limit tables: reservations of the balance, and limits of what is spent.

As in the attribution tables, an empty text means that no API key or project was named.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    PrimaryKeyConstraint,
    String,
    Table,
    text,
)

from db.tables import metadata, name, timestamp

_OPEN = text("state = 'open'")
_IN_FORCE = text("deleted_at IS NULL")

authorizations = Table(
    "authorizations",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    # 1, 2, 3 … for each account.
    Column("number", BigInteger(), nullable=False),
    # An open authorization reserves nothing from `expires_at` on. No state says that it has expired, because nothing
    # needs to run for it.
    Column("state", name(), nullable=False),
    Column("amount_nanos", BigInteger(), nullable=False),
    # More than the amount if a capture exceeded it.
    Column("captured_nanos", BigInteger(), nullable=False),
    Column("created_at", timestamp(), nullable=False),
    Column("expires_at", timestamp(), nullable=False),
    # When it was captured for the last time, or released.
    Column("closed_at", timestamp()),
    Column("api_key", name(), nullable=False),
    Column("project", name(), nullable=False),
    Column("ref_id", name()),
    PrimaryKeyConstraint("account_id", "number"),
    # Answers what is reserved without reading the table.
    Index(
        "ix_authorizations_open",
        "account_id",
        "expires_at",
        postgresql_where=_OPEN,
        sqlite_where=_OPEN,
        postgresql_include=["api_key", "project", "amount_nanos", "captured_nanos"],
    ),
    CheckConstraint("state IN ('open', 'captured', 'released')", name="state"),
    CheckConstraint("amount_nanos > 0 AND captured_nanos >= 0", name="amounts"),
    sqlite_with_rowid=False,
    # Leaves room for captures on the same page.
    postgresql_with={"fillfactor": 70},
)

spend_limits = Table(
    "spend_limits",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("number", BigInteger(), nullable=False),
    Column("api_key", name(), nullable=False),
    Column("project", name(), nullable=False),
    # 'day', 'week' (from Monday), 'month' or 'total', in UTC.
    Column("window_kind", name(), nullable=False),
    Column("amount_nanos", BigInteger(), nullable=False),
    # The percentages at which subscribers are notified, as "50,80,100"; empty for none.
    Column("notify_at", String(), nullable=False),
    Column("created_at", timestamp(), nullable=False),
    Column("updated_at", timestamp(), nullable=False),
    Column("deleted_at", timestamp()),
    # Net cost in the window that begins at `window_start`. A later window has spent nothing until a row is written in
    # it. Every posting transaction keeps both.
    Column("spent_nanos", BigInteger(), nullable=False),
    Column("window_start", timestamp(), nullable=False),
    # The highest percentage that was notified in the window.
    Column("notified_percent", BigInteger(), nullable=False),
    PrimaryKeyConstraint("account_id", "number"),
    Index(
        "uq_spend_limits_scope",
        *("account_id", "api_key", "project", "window_kind"),
        unique=True,
        postgresql_where=_IN_FORCE,
        sqlite_where=_IN_FORCE,
    ),
    CheckConstraint("window_kind IN ('day', 'week', 'month', 'total')", name="window"),
    CheckConstraint("amount_nanos > 0", name="amount"),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": 70},
)

spend_limit_events = Table(
    "spend_limit_events",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    # The ledger row that took what was spent to the percentage.
    Column("seq", BigInteger(), nullable=False),
    Column("limit_number", BigInteger(), nullable=False),
    Column("percent", BigInteger(), nullable=False),
    # As they were then.
    Column("amount_nanos", BigInteger(), nullable=False),
    Column("spent_nanos", BigInteger(), nullable=False),
    PrimaryKeyConstraint("account_id", "seq", "limit_number", "percent"),
    sqlite_with_rowid=False,
)
