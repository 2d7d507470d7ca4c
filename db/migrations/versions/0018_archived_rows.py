"""Proofs of archived rows, the border of each account, and a guard that lets proven rows leave the ledger's table."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from db.tables import EpochMicroseconds

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# Programs of the version before read all rows from the table: they can go on until the first row leaves the table
# (`ledger/archiving.py` marks that moment).
OLDEST_PROGRAM = "0017"

_SQLITE_GUARDS = (
    "DROP TRIGGER transactions_refuse_delete",
    """
    CREATE TRIGGER transactions_refuse_delete BEFORE DELETE ON transactions
    WHEN NOT EXISTS (
        SELECT 1 FROM accounts JOIN ledger_archives ON ledger_archives.account_id = accounts.id
        WHERE accounts.id = OLD.account_id AND OLD.seq <= accounts.archived_seq AND OLD.seq < accounts.head_seq
        AND OLD.seq BETWEEN ledger_archives.first_seq AND ledger_archives.last_seq
    )
    BEGIN SELECT RAISE(ABORT, 'ledger rows are append-only: DELETE refused'); END
    """,
    """
    CREATE TRIGGER ledger_archives_refuse_update BEFORE UPDATE ON ledger_archives
    BEGIN SELECT RAISE(ABORT, 'proofs are append-only: UPDATE refused'); END
    """,
    """
    CREATE TRIGGER ledger_archives_refuse_delete BEFORE DELETE ON ledger_archives
    BEGIN SELECT RAISE(ABORT, 'proofs are append-only: DELETE refused'); END
    """,
    # INSERT OR REPLACE deletes the old row without firing the trigger above.
    """
    CREATE TRIGGER ledger_archives_refuse_replace BEFORE INSERT ON ledger_archives
    WHEN EXISTS (SELECT 1 FROM ledger_archives WHERE account_id = NEW.account_id AND first_seq = NEW.first_seq)
    BEGIN SELECT RAISE(ABORT, 'proofs are append-only: REPLACE refused'); END
    """,
)

# Its tables are those of this schema, whatever a session has put before them.
_REFUSE = """
    CREATE OR REPLACE FUNCTION transactions_refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp
    AS $$ BEGIN
        IF TG_OP = 'DELETE' AND EXISTS (
            SELECT 1 FROM accounts JOIN ledger_archives ON ledger_archives.account_id = accounts.id
            WHERE accounts.id = OLD.account_id AND OLD.seq <= accounts.archived_seq AND OLD.seq < accounts.head_seq
            AND OLD.seq BETWEEN ledger_archives.first_seq AND ledger_archives.last_seq
        ) THEN RETURN OLD; END IF;
        RAISE EXCEPTION 'ledger rows are append-only: % refused', TG_OP USING ERRCODE = '55000';
    END $$
"""

_POSTGRESQL_GUARDS = (
    """
    CREATE FUNCTION ledger_archives_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'proofs are append-only: % refused', TG_OP USING ERRCODE = '55000'; END $$
    """,
    """
    CREATE TRIGGER ledger_archives_refuse_change BEFORE UPDATE OR DELETE ON ledger_archives
    FOR EACH ROW EXECUTE FUNCTION ledger_archives_refuse()
    """,
    """
    CREATE TRIGGER ledger_archives_refuse_truncate BEFORE TRUNCATE ON ledger_archives
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_archives_refuse()
    """,
    # ALWAYS, so that the trigger also fires in a session with the role of a replica.
    "ALTER TABLE ledger_archives ENABLE ALWAYS TRIGGER ledger_archives_refuse_change",
    "ALTER TABLE ledger_archives ENABLE ALWAYS TRIGGER ledger_archives_refuse_truncate",
)


def _timestamp() -> sa.types.TypeEngine[datetime]:
    return sa.DateTime(timezone=True).with_variant(EpochMicroseconds(), "sqlite")


def _guards() -> tuple[str, ...]:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return _SQLITE_GUARDS
    schema = connection.scalar(sa.text("SELECT quote_ident(current_schema())"))
    return (_REFUSE.format(schema=schema), *_POSTGRESQL_GUARDS)


def upgrade() -> None:
    op.add_column("accounts", sa.Column("archived_seq", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "ledger_archives",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("first_at", _timestamp(), nullable=False),
        sa.Column("last_at", _timestamp(), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=False),
        sa.Column("last_hash", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("proven_at", _timestamp(), nullable=False),
        sa.CheckConstraint("first_seq >= 1 AND last_seq >= first_seq", name=op.f("ck_ledger_archives_seq")),
        sa.CheckConstraint(
            "length(previous_hash) = 32 AND length(last_hash) = 32 AND length(sha256) = 32",
            name=op.f("ck_ledger_archives_hashes"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_ledger_archives_account_id")),
        sa.PrimaryKeyConstraint("account_id", "first_seq", name=op.f("pk_ledger_archives")),
        sqlite_with_rowid=False,
    )
    for guard in _guards():
        op.execute(guard)


def downgrade() -> None:
    raise NotImplementedError
