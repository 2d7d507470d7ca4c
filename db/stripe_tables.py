"""Stripe tables: the effects of Stripe's events, and the payments that auto-recharge requested.

Events, customers and credits are found by Stripe's own ids before their account is known. So the keys of these tables
do not begin with the account.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    false,
    text,
)

from db.tables import identity, metadata, name, timestamp

_RETRIED = text("retry_at IS NOT NULL")
_AWAITED = text("waits_for IS NOT NULL")
_FOR_A_PERSON = text("state = 'needs_attention'")
_IN_FLIGHT = text("ended_at IS NULL")
_PAYMENT = text("payment_intent IS NOT NULL")
_TO_ASK = text("ask_at IS NOT NULL")

stripe_events = Table(
    "stripe_events",
    metadata,
    # In order of receipt. Lists are paged by this number.
    Column("number", identity(), primary_key=True, autoincrement=True),
    Column("id", name(), nullable=False),
    Column("type", name(), nullable=False),
    Column("created_at", timestamp(), nullable=False),
    Column("received_at", timestamp(), nullable=False),
    Column("state", name(), nullable=False),
    # Why it was ignored, what it waits for, or what a person must check. Text for operators.
    Column("reason", String()),
    Column("account_id", BigInteger(), ForeignKey("accounts.id")),
    # The customer or payment that is not known yet.
    Column("waits_for", name()),
    # The event as received. Removed when the event is done, because it contains names and addresses.
    Column("payload", String()),
    Column("attempts", BigInteger(), nullable=False),
    # If it needs a person, it is tried again only if that may help.
    Column("retry_at", timestamp()),
    # The Stripe object of the event; null for events from before this column, and for events without an object.
    Column("object_id", name()),
    UniqueConstraint("id"),
    Index("ix_stripe_events_state", "state", "number"),
    Index("ix_stripe_events_retry_at", "retry_at", postgresql_where=_RETRIED, sqlite_where=_RETRIED),
    Index("ix_stripe_events_waits_for", "waits_for", postgresql_where=_AWAITED, sqlite_where=_AWAITED),
    Index("ix_stripe_events_object_id", "object_id", postgresql_where=_FOR_A_PERSON, sqlite_where=_FOR_A_PERSON),
    CheckConstraint("state IN ('applied', 'ignored', 'waiting', 'needs_attention')", name="state"),
    CheckConstraint(
        "(state IN ('waiting', 'needs_attention')) = (payload IS NOT NULL)"
        " AND (state = 'needs_attention' OR (state = 'waiting') = (retry_at IS NOT NULL))"
        " AND (retry_at IS NOT NULL OR waits_for IS NULL)",
        name="waiting",
    ),
)

stripe_customers = Table(
    "stripe_customers",
    metadata,
    Column("id", name(), nullable=False),
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("created_at", timestamp(), nullable=False),
    # As far as is known: reads must not ask Stripe. It determines which customer pays (db/stripe_customers.py).
    Column("has_card", Boolean(), nullable=False, server_default=false()),
    # When the newest top-up of the customer was credited.
    Column("paid_at", timestamp()),
    # When Stripe must be asked whether a card is saved. Events come in any order, so they only say that something
    # changed.
    Column("ask_at", timestamp()),
    Column("deleted_at", timestamp()),
    PrimaryKeyConstraint("id"),
    Index("ix_stripe_customers_account_id", "account_id", "created_at", "id"),
    Index("ix_stripe_customers_ask_at", "ask_at", postgresql_where=_TO_ASK, sqlite_where=_TO_ASK),
    sqlite_with_rowid=False,
)

top_ups = Table(
    "top_ups",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    # The idempotency key of the call that created the session. Stripe forgets it after a day.
    Column("key", name(), nullable=False),
    Column("session_id", name(), nullable=False),
    Column("url", String(), nullable=False),
    Column("amount_nanos", BigInteger(), nullable=False),
    Column("expires_at", timestamp(), nullable=False),
    # When Stripe reported that the customer finished Checkout, whether the payment has arrived or not.
    Column("completed_at", timestamp()),
    Column("created_at", timestamp(), nullable=False),
    PrimaryKeyConstraint("account_id", "key"),
    Index("ix_top_ups_session_id", "session_id"),
    CheckConstraint("amount_nanos > 0", name="amount"),
    sqlite_with_rowid=False,
)

stripe_credits = Table(
    "stripe_credits",
    metadata,
    # The credited session, payment, refund or invoice. Several events may announce one, which must be credited once.
    Column("id", name(), nullable=False),
    # Null for a refund that failed before it was credited. The row ensures that it is never credited.
    Column("account_id", BigInteger(), ForeignKey("accounts.id")),
    Column("is_refund", Boolean(), nullable=False),
    Column("payment_intent", name()),
    Column("amount_nanos", BigInteger(), nullable=False),
    Column("created_at", timestamp(), nullable=False),
    # When the refund failed and its credit was taken back.
    Column("failed_at", timestamp()),
    PrimaryKeyConstraint("id"),
    Index("ix_stripe_credits_account_id", "account_id"),
    Index("ix_stripe_credits_payment_intent", "payment_intent", "is_refund"),
    CheckConstraint("account_id IS NOT NULL OR failed_at IS NOT NULL", name="account"),
    CheckConstraint("is_refund OR failed_at IS NULL", name="failed_at"),
    sqlite_with_rowid=False,
)

stripe_receipts = Table(
    "stripe_receipts",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    # The receipt's event may come before the payment is credited.
    Column("payment_intent", name(), nullable=False),
    Column("url", String(), nullable=False),
    PrimaryKeyConstraint("account_id", "payment_intent"),
    sqlite_with_rowid=False,
)

auto_recharges = Table(
    "auto_recharges",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("state", name(), nullable=False),
    Column("threshold_nanos", BigInteger(), nullable=False),
    Column("amount_nanos", BigInteger(), nullable=False),
    Column("daily_limit_nanos", BigInteger(), nullable=False),
    Column("declines", BigInteger(), nullable=False),
    # No payment is tried before this moment, which is set after a decline.
    Column("retry_at", timestamp()),
    Column("last_failure", String()),
    Column("last_failure_at", timestamp()),
    Column("changed_at", timestamp(), nullable=False),
    PrimaryKeyConstraint("account_id"),
    CheckConstraint("state IN ('active', 'stopped', 'off')", name="state"),
    CheckConstraint("amount_nanos > 0 AND daily_limit_nanos >= amount_nanos AND declines >= 0", name="amounts"),
    sqlite_with_rowid=False,
)

recharge_attempts = Table(
    "recharge_attempts",
    metadata,
    # Also the idempotency key at Stripe.
    Column("id", name(), nullable=False),
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("state", name(), nullable=False),
    Column("amount_nanos", BigInteger(), nullable=False),
    Column("threshold_nanos", BigInteger(), nullable=False),
    Column("customer", name()),
    # Committed before the payment is requested: a repeated request with another card would be another payment to
    # Stripe.
    Column("payment_method", name()),
    Column("payment_intent", name()),
    Column("started_at", timestamp(), nullable=False),
    Column("sent_at", timestamp()),
    Column("retry_at", timestamp(), nullable=False),
    Column("sends", BigInteger(), nullable=False),
    Column("ended_at", timestamp()),
    Column("failure", String()),
    PrimaryKeyConstraint("id"),
    Index("ix_recharge_attempts_account_id", "account_id", "started_at"),
    Index("ix_recharge_attempts_payment_intent", "payment_intent", postgresql_where=_PAYMENT, sqlite_where=_PAYMENT),
    # The database ensures that an account has at most one payment in flight.
    Index(
        "uq_recharge_attempts_in_flight",
        "account_id",
        unique=True,
        postgresql_where=_IN_FLIGHT,
        sqlite_where=_IN_FLIGHT,
    ),
    CheckConstraint("state IN ('started', 'submitted', 'succeeded', 'failed')", name="state"),
    CheckConstraint("(ended_at IS NULL) = (state IN ('started', 'submitted'))", name="ended_at"),
    CheckConstraint("amount_nanos > 0", name="amount"),
    sqlite_with_rowid=False,
)
