"""Name, address and tax id that customers set for their statements."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from db.tables import EpochMicroseconds

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

# Older programs do not know the table, and need not.
OLDEST_PROGRAM = "0012"


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


def downgrade() -> None:
    raise NotImplementedError
