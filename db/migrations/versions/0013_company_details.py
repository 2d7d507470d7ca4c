"""Name, address and tax id that customers set for their statements; receipts of payments."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from db.tables import EpochMicroseconds

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# Older programs do not know the tables, and need not.
OLDEST_PROGRAM = "0012"


def _name() -> sa.types.TypeEngine[str]:
    return sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _timestamp() -> sa.types.TypeEngine[datetime]:
    return sa.DateTime(timezone=True).with_variant(EpochMicroseconds(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "company_details",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("tax_id", sa.String(), nullable=True),
        sa.Column("updated_at", _timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_company_details_account_id")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_company_details")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "stripe_receipts",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("payment_intent", _name(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_stripe_receipts_account_id")),
        sa.PrimaryKeyConstraint("account_id", "payment_intent", name=op.f("pk_stripe_receipts")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    raise NotImplementedError
