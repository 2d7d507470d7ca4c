"""The set of databases that share the accounts, and the directory of its first shard."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from db.tables import EpochMicroseconds

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# Older programs do not know the tables, which are empty. The making of a set marks its tables as those of this version.
OLDEST_PROGRAM = "0018"


def _name() -> sa.types.TypeEngine[str]:
    return sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _timestamp() -> sa.types.TypeEngine[datetime]:
    return sa.DateTime(timezone=True).with_variant(EpochMicroseconds(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "shard_membership",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("set_id", _name(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_shard_membership_one_row")),
        sa.CheckConstraint("number >= 0", name=op.f("ck_shard_membership_number")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shard_membership")),
    )
    op.create_table(
        "shards",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("accounts", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("number >= 0 AND accounts >= 0", name=op.f("ck_shards_numbers")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_shards")),
    )
    op.create_table(
        "shard_external_ids",
        sa.Column("external_id", _name(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("external_id", name=op.f("pk_shard_external_ids")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "shard_creations",
        sa.Column("key", _name(), nullable=False),
        sa.Column("payload_digest", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_shard_creations")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    raise NotImplementedError
