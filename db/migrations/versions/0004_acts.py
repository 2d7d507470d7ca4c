"""Mutations: results of calls, calls that write no rows, and the operators' audit list, append-only."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from db.tables import EpochMicroseconds

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _name() -> sa.types.TypeEngine[str]:
    return sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _timestamp() -> sa.types.TypeEngine[datetime]:
    return sa.DateTime(timezone=True).with_variant(EpochMicroseconds(), "sqlite")


def _identity() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


_SQLITE_GUARDS = (
    """
    CREATE TRIGGER audit_entries_refuse_update BEFORE UPDATE ON audit_entries
    BEGIN SELECT RAISE(ABORT, 'audit entries are append-only: UPDATE refused'); END
    """,
    """
    CREATE TRIGGER audit_entries_refuse_delete BEFORE DELETE ON audit_entries
    BEGIN SELECT RAISE(ABORT, 'audit entries are append-only: DELETE refused'); END
    """,
    # INSERT OR REPLACE deletes the old row without firing the trigger above.
    """
    CREATE TRIGGER audit_entries_refuse_replace BEFORE INSERT ON audit_entries
    WHEN EXISTS (SELECT 1 FROM audit_entries WHERE id = NEW.id)
    BEGIN SELECT RAISE(ABORT, 'audit entries are append-only: REPLACE refused'); END
    """,
)

_POSTGRESQL_GUARDS = (
    """
    CREATE FUNCTION audit_entries_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'audit entries are append-only: % refused', TG_OP USING ERRCODE = '55000'; END $$
    """,
    """
    CREATE TRIGGER audit_entries_refuse_change BEFORE UPDATE OR DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION audit_entries_refuse()
    """,
    """
    CREATE TRIGGER audit_entries_refuse_truncate BEFORE TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_refuse()
    """,
    # ALWAYS, so that the trigger also fires in a session with the role of a replica.
    "ALTER TABLE audit_entries ENABLE ALWAYS TRIGGER audit_entries_refuse_change",
    "ALTER TABLE audit_entries ENABLE ALWAYS TRIGGER audit_entries_refuse_truncate",
)


def upgrade() -> None:
    op.add_column("idempotency_keys", sa.Column("result", sa.BigInteger(), nullable=True))
    op.create_table(
        "idempotent_acts",
        sa.Column("scope", _name(), nullable=False),
        sa.Column("operation", _name(), nullable=False),
        sa.Column("key", _name(), nullable=False),
        sa.Column("payload_digest", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("key_prefix", _name(), nullable=True),
        sa.Column("balance_nanos", sa.BigInteger(), nullable=True),
        sa.Column("last_seq", sa.BigInteger(), nullable=True),
        sa.Column("created_at", _timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_idempotent_acts_account_id")),
        sa.PrimaryKeyConstraint("scope", "operation", "key", name=op.f("pk_idempotent_acts")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audit_entries",
        sa.Column("id", _identity(), autoincrement=True, nullable=False),
        sa.Column("at", _timestamp(), nullable=False),
        sa.Column("act", _name(), nullable=False),
        sa.Column("actor", _name(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("key_prefix", _name(), nullable=True),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("first_seq", sa.BigInteger(), nullable=True),
        sa.Column("last_seq", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(first_seq IS NULL) = (last_seq IS NULL)", name=op.f("ck_audit_entries_rows")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_audit_entries_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    for column in ("account_id", "act", "actor", "at"):
        op.create_index(f"ix_audit_entries_{column}", "audit_entries", [column, "id"], unique=False)

    postgresql = op.get_bind().dialect.name == "postgresql"
    for guard in _POSTGRESQL_GUARDS if postgresql else _SQLITE_GUARDS:
        op.execute(guard)


def downgrade() -> None:
    raise NotImplementedError
