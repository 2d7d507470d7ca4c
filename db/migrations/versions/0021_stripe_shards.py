"""The directory of Stripe customers and events, on the first shard of a set."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# Older programs do not know the tables, which are empty. `migrate` marks the tables of a set as those of this version.
OLDEST_PROGRAM = "0019"


def _name() -> sa.types.TypeEngine[str]:
    return sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "shard_stripe_customers",
        sa.Column("customer", _name(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("customer", name=op.f("pk_shard_stripe_customers")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "shard_stripe_events",
        sa.Column("id", _name(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shard_stripe_events")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    raise NotImplementedError
