"""Sessions of sign-in links, which end with the key that made the link, what entries of the audit list changed, and an
index that finds an auto-recharge by its payment."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# Older programs would revoke a key without ending its sessions.
OLDEST_PROGRAM = "0014"


def _name() -> sa.types.TypeEngine[str]:
    return sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _partial_index(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, postgresql_where=where, sqlite_where=where)


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("session_of", sa.BigInteger(), nullable=True))
    _partial_index("ix_api_keys_lasting", "api_keys", ["account_id", "id"], "session_of IS NULL")
    _partial_index("ix_api_keys_session_of", "api_keys", ["session_of"], "session_of IS NOT NULL")
    _partial_index(
        "ix_recharge_attempts_payment_intent", "recharge_attempts", ["payment_intent"], "payment_intent IS NOT NULL"
    )
    op.add_column("audit_entries", sa.Column("scope", _name(), nullable=True))
    op.add_column("audit_entries", sa.Column("old_value", sa.String(), nullable=True))
    op.add_column("audit_entries", sa.Column("new_value", sa.String(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError
