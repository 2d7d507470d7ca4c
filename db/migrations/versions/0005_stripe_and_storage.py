"""Stripe's events, customers and credits; auto-recharge; volumes, instances and what they cost."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from db.tables import EpochMicroseconds

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _name() -> sa.types.TypeEngine[str]:
    return sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _timestamp() -> sa.types.TypeEngine[datetime]:
    return sa.DateTime(timezone=True).with_variant(EpochMicroseconds(), "sqlite")


def _identity() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _partial_index(name: str, table: str, columns: list[str], condition: str, *, unique: bool = False) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, unique=unique, postgresql_where=where, sqlite_where=where)


def _stripe() -> None:
    op.create_table(
        "stripe_events",
        sa.Column("number", _identity(), autoincrement=True, nullable=False),
        sa.Column("id", _name(), nullable=False),
        sa.Column("type", _name(), nullable=False),
        sa.Column("created_at", _timestamp(), nullable=False),
        sa.Column("received_at", _timestamp(), nullable=False),
        sa.Column("state", _name(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("waits_for", _name(), nullable=True),
        sa.Column("payload", sa.String(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("retry_at", _timestamp(), nullable=True),
        sa.CheckConstraint("state IN ('applied', 'ignored', 'waiting')", name=op.f("ck_stripe_events_state")),
        sa.CheckConstraint(
            "(state = 'waiting') = (payload IS NOT NULL) AND (state = 'waiting') = (retry_at IS NOT NULL)",
            name=op.f("ck_stripe_events_waiting"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_stripe_events_account_id")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_stripe_events")),
        sa.UniqueConstraint("id", name=op.f("uq_stripe_events_id")),
    )
    op.create_index("ix_stripe_events_state", "stripe_events", ["state", "number"], unique=False)
    _partial_index("ix_stripe_events_retry_at", "stripe_events", ["retry_at"], "state = 'waiting'")
    _partial_index("ix_stripe_events_waits_for", "stripe_events", ["waits_for"], "state = 'waiting'")
    op.create_table(
        "stripe_customers",
        sa.Column("id", _name(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_stripe_customers_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stripe_customers")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_stripe_customers_account_id", "stripe_customers", ["account_id", "created_at", "id"], unique=False
    )
    op.create_table(
        "stripe_credits",
        sa.Column("id", _name(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("is_refund", sa.Boolean(), nullable=False),
        sa.Column("payment_intent", _name(), nullable=True),
        sa.Column("amount_nanos", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_stripe_credits_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stripe_credits")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_stripe_credits_payment_intent", "stripe_credits", ["payment_intent", "is_refund"], unique=False)


def _auto_recharge() -> None:
    op.create_table(
        "auto_recharges",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("state", _name(), nullable=False),
        sa.Column("threshold_nanos", sa.BigInteger(), nullable=False),
        sa.Column("amount_nanos", sa.BigInteger(), nullable=False),
        sa.Column("daily_limit_nanos", sa.BigInteger(), nullable=False),
        sa.Column("declines", sa.BigInteger(), nullable=False),
        sa.Column("retry_at", _timestamp(), nullable=True),
        sa.Column("last_failure", sa.String(), nullable=True),
        sa.Column("last_failure_at", _timestamp(), nullable=True),
        sa.Column("changed_at", _timestamp(), nullable=False),
        sa.CheckConstraint("state IN ('active', 'stopped', 'off')", name=op.f("ck_auto_recharges_state")),
        sa.CheckConstraint(
            "amount_nanos > 0 AND daily_limit_nanos >= amount_nanos AND declines >= 0",
            name=op.f("ck_auto_recharges_amounts"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_auto_recharges_account_id")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_auto_recharges")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "recharge_attempts",
        sa.Column("id", _name(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("state", _name(), nullable=False),
        sa.Column("amount_nanos", sa.BigInteger(), nullable=False),
        sa.Column("threshold_nanos", sa.BigInteger(), nullable=False),
        sa.Column("customer", _name(), nullable=True),
        sa.Column("payment_method", _name(), nullable=True),
        sa.Column("payment_intent", _name(), nullable=True),
        sa.Column("started_at", _timestamp(), nullable=False),
        sa.Column("sent_at", _timestamp(), nullable=True),
        sa.Column("retry_at", _timestamp(), nullable=False),
        sa.Column("sends", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", _timestamp(), nullable=True),
        sa.Column("failure", sa.String(), nullable=True),
        sa.CheckConstraint(
            "state IN ('started', 'submitted', 'succeeded', 'failed')", name=op.f("ck_recharge_attempts_state")
        ),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (state IN ('started', 'submitted'))", name=op.f("ck_recharge_attempts_ended_at")
        ),
        sa.CheckConstraint("amount_nanos > 0", name=op.f("ck_recharge_attempts_amount")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_recharge_attempts_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recharge_attempts")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_recharge_attempts_account_id", "recharge_attempts", ["account_id", "started_at"], unique=False)
    _partial_index(
        "uq_recharge_attempts_in_flight",
        "recharge_attempts",
        ["account_id"],
        "ended_at IS NULL",
        unique=True,
    )


def _storage() -> None:
    op.create_table(
        "rates",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("ref_type", _name(), nullable=False),
        sa.Column("ref_id", _name(), nullable=False),
        sa.Column("since", _timestamp(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("price_nanos", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("quantity > 0 AND price_nanos >= 0", name=op.f("ck_rates_not_negative")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_rates_account_id")),
        sa.PrimaryKeyConstraint("account_id", "ref_type", "ref_id", "since", name=op.f("pk_rates")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "volumes",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("ref_type", _name(), nullable=False),
        sa.Column("ref_id", _name(), nullable=False),
        sa.Column("created_at", _timestamp(), nullable=False),
        sa.Column("deleted_at", _timestamp(), nullable=True),
        sa.Column("next_day", sa.Date(), nullable=True),
        sa.CheckConstraint("ref_type IN ('volume', 'shared_filesystem')", name=op.f("ck_volumes_ref_type")),
        sa.CheckConstraint("deleted_at >= created_at", name=op.f("ck_volumes_deleted_at")),
        sa.CheckConstraint("next_day IS NOT NULL OR deleted_at IS NOT NULL", name=op.f("ck_volumes_next_day")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_volumes_account_id")),
        sa.PrimaryKeyConstraint("account_id", "ref_type", "ref_id", name=op.f("pk_volumes")),
        sqlite_with_rowid=False,
    )
    _partial_index("ix_volumes_next_day", "volumes", ["next_day", "account_id"], "next_day IS NOT NULL")
    op.create_table(
        "inference_instances",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("ref_id", _name(), nullable=False),
        sa.Column("reported_at", _timestamp(), nullable=False),
        sa.Column("to_stop_since", _timestamp(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_inference_instances_account_id")),
        sa.PrimaryKeyConstraint("account_id", "ref_id", name=op.f("pk_inference_instances")),
        sqlite_with_rowid=False,
    )


def upgrade() -> None:
    _stripe()
    _auto_recharge()
    _storage()


def downgrade() -> None:
    raise NotImplementedError
