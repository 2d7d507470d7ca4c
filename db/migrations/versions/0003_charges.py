"""What lists of charges and explanations of rows are read by."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from db.tables import EpochMicroseconds

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _timestamp() -> sa.types.TypeEngine[datetime]:
    return sa.DateTime(timezone=True).with_variant(EpochMicroseconds(), "sqlite")


def upgrade() -> None:
    op.add_column("holds", sa.Column("expired_at", _timestamp(), nullable=True))
    # Of a hold that was settled after it had expired, nothing says when that was.
    op.execute("UPDATE holds SET expired_at = settled_at WHERE state = 'expired'")
    settled = sa.text("settled_seq IS NOT NULL")
    op.create_index(
        "ix_holds_settled_seq",
        "holds",
        ["account_id", "settled_seq"],
        unique=False,
        postgresql_where=settled,
        sqlite_where=settled,
    )
    op.create_index("ix_charges_state", "charges", ["account_id", "state", "ref_type", "first_seq"], unique=False)


def downgrade() -> None:
    raise NotImplementedError
