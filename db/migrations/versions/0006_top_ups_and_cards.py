"""Cards saved by an account's customers at Stripe, and the Checkout session of each top-up."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from db.tables import EpochMicroseconds

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _name() -> sa.types.TypeEngine[str]:
    return sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _timestamp() -> sa.types.TypeEngine[datetime]:
    return sa.DateTime(timezone=True).with_variant(EpochMicroseconds(), "sqlite")


# The worker asks Stripe about every existing customer. Until then a customer has a card if it must have saved one:
# it paid by auto-recharge, or it is the account's only customer and a top-up was credited.
_GUESS = """
    UPDATE stripe_customers SET has_card = true
    WHERE id IN (SELECT customer FROM recharge_attempts WHERE state = 'succeeded' AND customer IS NOT NULL)
    OR (
        account_id IN (SELECT account_id FROM stripe_credits WHERE id LIKE 'cs_%')
        AND account_id IN (SELECT account_id FROM stripe_customers GROUP BY account_id HAVING count(*) = 1)
    )
"""


def _cards() -> None:
    op.add_column("stripe_customers", sa.Column("has_card", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("stripe_customers", sa.Column("paid_at", _timestamp(), nullable=True))
    op.add_column("stripe_customers", sa.Column("ask_at", _timestamp(), nullable=True))
    op.add_column("stripe_customers", sa.Column("deleted_at", _timestamp(), nullable=True))
    where = sa.text("ask_at IS NOT NULL")
    op.create_index(
        "ix_stripe_customers_ask_at", "stripe_customers", ["ask_at"], postgresql_where=where, sqlite_where=where
    )
    op.execute(_GUESS)
    op.execute("UPDATE stripe_customers SET ask_at = created_at")


def _top_ups() -> None:
    op.create_table(
        "top_ups",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("key", _name(), nullable=False),
        sa.Column("session_id", _name(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("amount_nanos", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", _timestamp(), nullable=False),
        sa.Column("completed_at", _timestamp(), nullable=True),
        sa.Column("created_at", _timestamp(), nullable=False),
        sa.CheckConstraint("amount_nanos > 0", name=op.f("ck_top_ups_amount")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_top_ups_account_id")),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_top_ups")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_top_ups_session_id", "top_ups", ["session_id"], unique=False)


def upgrade() -> None:
    _cards()
    _top_ups()


def downgrade() -> None:
    raise NotImplementedError
