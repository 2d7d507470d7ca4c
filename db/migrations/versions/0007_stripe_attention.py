"""Stripe events that need a person, the objects of events, and refunds that failed."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from db.tables import EpochMicroseconds

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def _name() -> sa.types.TypeEngine[str]:
    return sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _timestamp() -> sa.types.TypeEngine[datetime]:
    return sa.DateTime(timezone=True).with_variant(EpochMicroseconds(), "sqlite")


_STATE = "state IN ('applied', 'ignored', 'waiting', 'needs_attention')"
_WAITING = (
    "(state IN ('waiting', 'needs_attention')) = (payload IS NOT NULL)"
    " AND (state = 'needs_attention' OR (state = 'waiting') = (retry_at IS NOT NULL))"
    " AND (retry_at IS NOT NULL OR waits_for IS NULL)"
)
_ACCOUNT = "account_id IS NOT NULL OR failed_at IS NOT NULL"
_FAILED_AT = "is_refund OR failed_at IS NULL"

_EVENT_COLUMNS = (
    *("number", "id", "type", "created_at", "received_at", "state", "reason", "account_id", "waits_for", "payload"),
    *("attempts", "retry_at"),
)
_CREDIT_COLUMNS = ("id", "account_id", "is_refund", "payment_intent", "amount_nanos", "created_at")


def _partial_index(name: str, column: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "stripe_events", [column], unique=False, postgresql_where=where, sqlite_where=where)


def _index_events() -> None:
    _partial_index("ix_stripe_events_retry_at", "retry_at", "retry_at IS NOT NULL")
    _partial_index("ix_stripe_events_waits_for", "waits_for", "waits_for IS NOT NULL")
    _partial_index("ix_stripe_events_object_id", "object_id", "state = 'needs_attention'")


def _alter() -> None:
    """PostgreSQL."""
    op.add_column("stripe_events", sa.Column("object_id", _name(), nullable=True))
    for name, condition in (("state", _STATE), ("waiting", _WAITING)):
        op.drop_constraint(op.f(f"ck_stripe_events_{name}"), "stripe_events")
        op.create_check_constraint(op.f(f"ck_stripe_events_{name}"), "stripe_events", condition)
    op.drop_index("ix_stripe_events_retry_at")
    op.drop_index("ix_stripe_events_waits_for")
    _index_events()
    op.add_column("stripe_credits", sa.Column("failed_at", _timestamp(), nullable=True))
    op.alter_column("stripe_credits", "account_id", nullable=True)
    for name, condition in (("account", _ACCOUNT), ("failed_at", _FAILED_AT)):
        op.create_check_constraint(op.f(f"ck_stripe_credits_{name}"), "stripe_credits", condition)


def _rebuild_events() -> None:
    """SQLite, which changes no constraints."""
    op.create_table(
        "new_stripe_events",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("created_at", _timestamp(), nullable=False),
        sa.Column("received_at", _timestamp(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("waits_for", sa.String(), nullable=True),
        sa.Column("payload", sa.String(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("retry_at", _timestamp(), nullable=True),
        sa.Column("object_id", sa.String(), nullable=True),
        sa.CheckConstraint(_STATE, name=op.f("ck_stripe_events_state")),
        sa.CheckConstraint(_WAITING, name=op.f("ck_stripe_events_waiting")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_stripe_events_account_id")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_stripe_events")),
        sa.UniqueConstraint("id", name=op.f("uq_stripe_events_id")),
    )
    _replace("stripe_events", _EVENT_COLUMNS)
    op.create_index("ix_stripe_events_state", "stripe_events", ["state", "number"], unique=False)
    _index_events()


def _rebuild_credits() -> None:
    op.create_table(
        "new_stripe_credits",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("is_refund", sa.Boolean(), nullable=False),
        sa.Column("payment_intent", sa.String(), nullable=True),
        sa.Column("amount_nanos", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _timestamp(), nullable=False),
        sa.Column("failed_at", _timestamp(), nullable=True),
        sa.CheckConstraint(_ACCOUNT, name=op.f("ck_stripe_credits_account")),
        sa.CheckConstraint(_FAILED_AT, name=op.f("ck_stripe_credits_failed_at")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_stripe_credits_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stripe_credits")),
        sqlite_with_rowid=False,
    )
    _replace("stripe_credits", _CREDIT_COLUMNS)
    op.create_index("ix_stripe_credits_payment_intent", "stripe_credits", ["payment_intent", "is_refund"], unique=False)


def _replace(table: str, kept: tuple[str, ...]) -> None:
    """Replaces the table by the new one, with all rows. Its old indexes are dropped; no other table refers to it."""
    columns = ", ".join(kept)
    op.execute(f"INSERT INTO new_{table} ({columns}) SELECT {columns} FROM {table}")  # noqa: S608
    op.drop_table(table)
    op.rename_table(f"new_{table}", table)


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        _alter()
    else:
        _rebuild_events()
        _rebuild_credits()


def downgrade() -> None:
    raise NotImplementedError
