"""Indexes and columns for lists of charges and explanations of rows."""

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


# Without statistics SQLite assumes that an account has ten rows, and scans its whole ledger for the rows of a resource
# although there is an index. These are statistics of a large ledger: all rows, then rows per prefix of the index.
_SQLITE_STATISTICS = {
    "transactions": {
        "transactions": "1000000 10000 1",
        "ix_transactions_created_at": "1000000 10000 2 1",
        "ix_transactions_kind": "1000000 10000 2000 1000 1",
        "ix_transactions_amount": "1000000 10000 10 1",
        "ix_transactions_ref_type": "1000000 10000 2000 1000 1000 1",
        "ix_transactions_ref_id": "1000000 10000 10 1",
    },
    "holds": {
        "holds": "100000 1000 1",
        "ix_holds_ref": "100000 1000 500 2 1",
        "ix_holds_open": "1000 10 1",
        "ix_holds_settled_seq": "90000 900 1",
    },
    "charges": {
        "charges": "100000 1000 500 1",
        "ix_charges_first_seq": "100000 1000 1",
        "ix_charges_state": "100000 1000 500 250 1",
    },
}

_IF_UNKNOWN = sa.text(
    "INSERT INTO sqlite_stat1 (tbl, idx, stat) SELECT :table, :index, :shape"
    " WHERE NOT EXISTS (SELECT 1 FROM sqlite_stat1 WHERE tbl = :table AND idx = :index)"
)


def _describe_to_sqlite() -> None:
    op.execute("ANALYZE sqlite_master")  # creates the table of statistics without any
    for table, indexes in _SQLITE_STATISTICS.items():
        for index, shape in indexes.items():
            # Existing statistics are kept.
            op.execute(_IF_UNKNOWN.bindparams(table=table, index=index, shape=shape))
    op.execute("ANALYZE sqlite_master")  # reloads the statistics


def upgrade() -> None:
    op.add_column("holds", sa.Column("expired_at", _timestamp(), nullable=True))
    # If a hold was settled after it expired, the time of its expiry is unknown.
    op.execute("UPDATE holds SET expired_at = settled_at WHERE state = 'expired'")
    settled = sa.text("settled_seq IS NOT NULL")
    op.create_index(
        "ix_holds_settled_seq",
        "holds",
        ["account_id", "settled_seq"],
        unique=True,
        postgresql_where=settled,
        sqlite_where=settled,
    )
    op.create_index("ix_charges_state", "charges", ["account_id", "state", "ref_type", "first_seq"], unique=False)
    if op.get_bind().dialect.name == "sqlite":
        _describe_to_sqlite()


def downgrade() -> None:
    raise NotImplementedError
