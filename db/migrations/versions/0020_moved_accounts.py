"""Accounts that were moved to another shard, and guards that let the rows of such an account go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# The first move of an account marks the tables as those of this version (`ledger/moving.py`).
OLDEST_PROGRAM = "0019"

_GUARDED = (
    ("transactions", "ledger rows"),
    ("audit_entries", "audit entries"),
    ("ledger_checkpoints", "checkpoints"),
)

# A move says where the account is: `accounts.shard` alone lets no row go.
_ELSEWHERE = """EXISTS (
            SELECT 1 FROM accounts JOIN moved_accounts ON moved_accounts.account_id = accounts.id
            WHERE accounts.id = OLD.account_id AND moved_accounts.number = accounts.shard
        ) OR EXISTS (
            SELECT 1 FROM accounts JOIN account_moves ON account_moves.account_id = accounts.id
            WHERE accounts.id = OLD.account_id AND account_moves.number = accounts.shard
            AND account_moves.direction = 'arriving'
        )"""
_ARCHIVED = """EXISTS (
            SELECT 1 FROM accounts JOIN ledger_archives ON ledger_archives.account_id = accounts.id
            WHERE accounts.id = OLD.account_id AND OLD.seq <= accounts.archived_seq AND OLD.seq < accounts.head_seq
            AND OLD.seq BETWEEN ledger_archives.first_seq AND ledger_archives.last_seq
        )"""

# Its tables are those of this schema, whatever a session has put before them.
_REFUSE = """
    CREATE OR REPLACE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp
    AS $$ BEGIN
        IF TG_OP = 'DELETE' AND ({exceptions}) THEN RETURN OLD; END IF;
        RAISE EXCEPTION '{rows} are append-only: % refused', TG_OP USING ERRCODE = '55000';
    END $$
"""

_SQLITE_REFUSE = """
    CREATE TRIGGER {table}_refuse_delete BEFORE DELETE ON {table}
    WHEN NOT ({exceptions})
    BEGIN SELECT RAISE(ABORT, '{rows} are append-only: DELETE refused'); END
"""


def _name() -> sa.types.TypeEngine[str]:
    return sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    for table in ("accounts", "api_keys"):
        op.add_column(table, sa.Column("shard", sa.BigInteger(), nullable=True))
    op.create_table(
        "moved_accounts",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("moves", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("number >= 0 AND moves >= 1", name=op.f("ck_moved_accounts_numbers")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_moved_accounts")),
    )
    op.create_table(
        "account_moves",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("direction", _name(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("moves", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("direction IN ('leaving', 'arriving')", name=op.f("ck_account_moves_direction")),
        sa.CheckConstraint("number >= 0 AND moves >= 1", name=op.f("ck_account_moves_numbers")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_account_moves")),
    )
    connection = op.get_bind()
    is_postgresql = connection.dialect.name == "postgresql"
    schema = connection.scalar(sa.text("SELECT quote_ident(current_schema())")) if is_postgresql else None
    for table, rows in _GUARDED:
        exceptions = f"{_ELSEWHERE} OR {_ARCHIVED}" if table == "transactions" else _ELSEWHERE
        if not is_postgresql:
            op.execute(f"DROP TRIGGER {table}_refuse_delete")
        text = _REFUSE if is_postgresql else _SQLITE_REFUSE
        op.execute(text.format(table=table, rows=rows, exceptions=exceptions, schema=schema))


def downgrade() -> None:
    raise NotImplementedError
