"""Tickets: short-lived stand-ins for an API key."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from db.tables import EpochMicroseconds

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _name() -> sa.types.TypeEngine[str]:
    return sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _timestamp() -> sa.types.TypeEngine[datetime]:
    return sa.DateTime(timezone=True).with_variant(EpochMicroseconds(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "tickets",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("purpose", _name(), nullable=False),
        sa.Column("key_id", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.String(), nullable=True),
        sa.Column("created_at", _timestamp(), nullable=False),
        sa.Column("expires_at", _timestamp(), nullable=False),
        sa.Column("used_at", _timestamp(), nullable=True),
        sa.CheckConstraint("purpose IN ('stream', 'export', 'sign_in')", name=op.f("ck_tickets_purpose")),
        sa.CheckConstraint("length(digest) = 32", name=op.f("ck_tickets_digest")),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_tickets_key_id")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_tickets")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_tickets_expires_at", "tickets", ["expires_at"], unique=False)
    op.create_index("ix_tickets_key_id", "tickets", ["key_id", "purpose", "created_at"], unique=False)


def downgrade() -> None:
    raise NotImplementedError
