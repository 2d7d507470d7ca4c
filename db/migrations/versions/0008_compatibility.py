"""Compatibility: tells programs that do not know the tables' version whether they can work on the tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Older programs do not look for the mark.
OLDEST_PROGRAM = "0008"


def upgrade() -> None:
    name = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    op.create_table(
        "schema_compatibility",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("oldest_program", name, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_schema_compatibility_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_compatibility")),
    )
    op.execute("INSERT INTO schema_compatibility (id, oldest_program) VALUES (1, '0008')")


def downgrade() -> None:
    raise NotImplementedError
