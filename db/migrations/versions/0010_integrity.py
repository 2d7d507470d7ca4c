"""Daily checkpoints of all heads, and how far verification has come."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from db.tables import EpochMicroseconds

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Programs of the version before know neither table and need neither.
OLDEST_PROGRAM = "0009"

_SQLITE_GUARDS = (
    """
    CREATE TRIGGER ledger_checkpoints_refuse_update BEFORE UPDATE ON ledger_checkpoints
    BEGIN SELECT RAISE(ABORT, 'checkpoints are append-only: UPDATE refused'); END
    """,
    """
    CREATE TRIGGER ledger_checkpoints_refuse_delete BEFORE DELETE ON ledger_checkpoints
    BEGIN SELECT RAISE(ABORT, 'checkpoints are append-only: DELETE refused'); END
    """,
    # INSERT OR REPLACE deletes the old row without firing the trigger above.
    """
    CREATE TRIGGER ledger_checkpoints_refuse_replace BEFORE INSERT ON ledger_checkpoints
    WHEN EXISTS (SELECT 1 FROM ledger_checkpoints WHERE account_id = NEW.account_id AND day = NEW.day)
    BEGIN SELECT RAISE(ABORT, 'checkpoints are append-only: REPLACE refused'); END
    """,
)

_POSTGRESQL_GUARDS = (
    """
    CREATE FUNCTION ledger_checkpoints_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'checkpoints are append-only: % refused', TG_OP USING ERRCODE = '55000'; END $$
    """,
    """
    CREATE TRIGGER ledger_checkpoints_refuse_change BEFORE UPDATE OR DELETE ON ledger_checkpoints
    FOR EACH ROW EXECUTE FUNCTION ledger_checkpoints_refuse()
    """,
    """
    CREATE TRIGGER ledger_checkpoints_refuse_truncate BEFORE TRUNCATE ON ledger_checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_checkpoints_refuse()
    """,
    # ALWAYS, so that the trigger also fires in a session with the role of a replica.
    "ALTER TABLE ledger_checkpoints ENABLE ALWAYS TRIGGER ledger_checkpoints_refuse_change",
    "ALTER TABLE ledger_checkpoints ENABLE ALWAYS TRIGGER ledger_checkpoints_refuse_truncate",
)


def _timestamp() -> sa.types.TypeEngine[datetime]:
    return sa.DateTime(timezone=True).with_variant(EpochMicroseconds(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "ledger_checkpoints",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("seq >= 1", name=op.f("ck_ledger_checkpoints_seq")),
        sa.CheckConstraint("length(hash) = 32", name=op.f("ck_ledger_checkpoints_hash")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_ledger_checkpoints_account_id")),
        sa.PrimaryKeyConstraint("account_id", "day", name=op.f("pk_ledger_checkpoints")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "verification_runs",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("started_at", _timestamp(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("accounts", sa.BigInteger(), nullable=False),
        sa.Column("faults", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", _timestamp(), nullable=True),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_verification_runs")),
        sqlite_with_rowid=False,
    )
    postgresql = op.get_bind().dialect.name == "postgresql"
    for guard in _POSTGRESQL_GUARDS if postgresql else _SQLITE_GUARDS:
        op.execute(guard)


def downgrade() -> None:
    raise NotImplementedError
