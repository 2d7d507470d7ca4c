"""The ledger, usage, monthly figures, API keys, and the guards that make the ledger append-only."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from db.tables import EpochMicroseconds

revision = "0001"
down_revision = None
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
    CREATE TRIGGER transactions_refuse_update BEFORE UPDATE ON transactions
    BEGIN SELECT RAISE(ABORT, 'ledger rows are append-only: UPDATE refused'); END
    """,
    """
    CREATE TRIGGER transactions_refuse_delete BEFORE DELETE ON transactions
    BEGIN SELECT RAISE(ABORT, 'ledger rows are append-only: DELETE refused'); END
    """,
    # INSERT OR REPLACE deletes the old row without firing the trigger above.
    """
    CREATE TRIGGER transactions_refuse_replace BEFORE INSERT ON transactions
    WHEN EXISTS (SELECT 1 FROM transactions WHERE account_id = NEW.account_id AND seq = NEW.seq)
    BEGIN SELECT RAISE(ABORT, 'ledger rows are append-only: REPLACE refused'); END
    """,
)

_POSTGRESQL_GUARDS = (
    """
    CREATE FUNCTION transactions_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'ledger rows are append-only: % refused', TG_OP USING ERRCODE = '55000'; END $$
    """,
    """
    CREATE TRIGGER transactions_refuse_change BEFORE UPDATE OR DELETE ON transactions
    FOR EACH ROW EXECUTE FUNCTION transactions_refuse()
    """,
    """
    CREATE TRIGGER transactions_refuse_truncate BEFORE TRUNCATE ON transactions
    FOR EACH STATEMENT EXECUTE FUNCTION transactions_refuse()
    """,
    # ALWAYS, so that the trigger also fires in a session with the role of a replica.
    "ALTER TABLE transactions ENABLE ALWAYS TRIGGER transactions_refuse_change",
    "ALTER TABLE transactions ENABLE ALWAYS TRIGGER transactions_refuse_truncate",
)


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", _identity(), autoincrement=True, nullable=False),
        sa.Column("external_id", _name(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("currency", _name(), server_default="USD", nullable=False),
        sa.Column("status", _name(), server_default="active", nullable=False),
        sa.Column("created_at", _timestamp(), nullable=False),
        sa.Column("head_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("head_at", _timestamp(), nullable=True),
        sa.Column("head_hash", sa.LargeBinary(), nullable=True),
        sa.Column("balance_nanos", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("status IN ('active', 'suspended')", name=op.f("ck_accounts_status")),
        sa.CheckConstraint("head_seq >= 0", name=op.f("ck_accounts_head_seq")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("external_id", name=op.f("uq_accounts_external_id")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_table(
        "api_keys",
        sa.Column("id", _identity(), autoincrement=True, nullable=False),
        sa.Column("prefix", _name(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scope", _name(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("account_ids", sa.String(), nullable=True),
        sa.Column("operations", sa.String(), nullable=True),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("created_at", _timestamp(), nullable=False),
        sa.Column("last_used_at", _timestamp(), nullable=True),
        sa.Column("expires_at", _timestamp(), nullable=True),
        sa.Column("revoked_at", _timestamp(), nullable=True),
        sa.Column("replaced_by", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(account_id IS NOT NULL) = (scope IN ('read', 'manage'))", name=op.f("ck_api_keys_account")
        ),
        sa.CheckConstraint("scope IN ('read', 'manage', 'service', 'operator')", name=op.f("ck_api_keys_scope")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_api_keys_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_keys_prefix")),
    )
    op.create_index("ix_api_keys_account_id", "api_keys", ["account_id"], unique=False)
    op.create_table(
        "charges",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("ref_type", _name(), nullable=False),
        sa.Column("ref_id", _name(), nullable=False),
        sa.Column("state", _name(), nullable=False),
        sa.Column("held_nanos", sa.BigInteger(), nullable=False),
        sa.Column("refunded_nanos", sa.BigInteger(), nullable=False),
        sa.Column("overage_nanos", sa.BigInteger(), nullable=False),
        sa.Column("billed_nanos", sa.BigInteger(), nullable=False),
        sa.Column("cycles", sa.BigInteger(), nullable=False),
        sa.Column("hold_seq", sa.BigInteger(), nullable=True),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", _timestamp(), nullable=False),
        sa.Column("closed_at", _timestamp(), nullable=True),
        sa.CheckConstraint("state IN ('open', 'settled', 'expired')", name=op.f("ck_charges_state")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_charges_account_id")),
        sa.PrimaryKeyConstraint("account_id", "ref_type", "ref_id", name=op.f("pk_charges")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_charges_first_seq", "charges", ["account_id", "first_seq"], unique=False)
    op.create_table(
        "holds",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("hold_seq", sa.BigInteger(), nullable=False),
        sa.Column("ref_type", _name(), nullable=False),
        sa.Column("ref_id", _name(), nullable=False),
        sa.Column("cycle", sa.BigInteger(), nullable=False),
        sa.Column("held_nanos", sa.BigInteger(), nullable=False),
        sa.Column("month", _name(), nullable=False),
        sa.Column("state", _name(), nullable=False),
        sa.Column("period_start", _timestamp(), nullable=False),
        sa.Column("period_end", _timestamp(), nullable=False),
        sa.Column("used_nanos", sa.BigInteger(), nullable=True),
        sa.Column("settled_seq", sa.BigInteger(), nullable=True),
        sa.Column("settled_at", _timestamp(), nullable=True),
        sa.CheckConstraint("state IN ('open', 'settled', 'expired')", name=op.f("ck_holds_state")),
        sa.CheckConstraint("held_nanos > 0", name=op.f("ck_holds_held")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_holds_account_id")),
        sa.PrimaryKeyConstraint("account_id", "hold_seq", name=op.f("pk_holds")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_holds_open",
        "holds",
        ["account_id", "period_end"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
        sqlite_where=sa.text("state = 'open'"),
    )
    op.create_index("ix_holds_ref", "holds", ["account_id", "ref_type", "ref_id", "hold_seq"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("operation", _name(), nullable=False),
        sa.Column("key", _name(), nullable=False),
        sa.Column("payload_digest", sa.LargeBinary(), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("balance_nanos", sa.BigInteger(), nullable=False),
        sa.Column("to_stop", sa.Boolean(), nullable=False),
        sa.Column("created_at", _timestamp(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_idempotency_keys_account_id")),
        sa.PrimaryKeyConstraint("account_id", "operation", "key", name=op.f("pk_idempotency_keys")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "monthly_figures",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("month", _name(), nullable=False),
        sa.Column("gross_nanos", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("refunded_nanos", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("open_holds_nanos", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("platform_calls", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("user_inference_calls", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "gross_nanos BETWEEN -9223372036854775807 AND 9223372036854775807 AND refunded_nanos BETWEEN -9223372036854775807 AND 9223372036854775807 AND open_holds_nanos BETWEEN -9223372036854775807 AND 9223372036854775807",
            name=op.f("ck_monthly_figures_money_range"),
        ),
        sa.CheckConstraint(
            "platform_calls BETWEEN -9223372036854775807 AND 9223372036854775807 AND user_inference_calls BETWEEN -9223372036854775807 AND 9223372036854775807 AND tokens BETWEEN -9223372036854775807 AND 9223372036854775807",
            name=op.f("ck_monthly_figures_usage_range"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_monthly_figures_account_id")),
        sa.PrimaryKeyConstraint("account_id", "month", name=op.f("pk_monthly_figures")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "transactions",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("created_at", _timestamp(), nullable=False),
        sa.Column("type", _name(), nullable=False),
        sa.Column("amount_nanos", sa.BigInteger(), nullable=False),
        sa.Column("balance_after_nanos", sa.BigInteger(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("source", _name(), nullable=False),
        sa.Column("ref_type", _name(), nullable=True),
        sa.Column("ref_id", _name(), nullable=True),
        sa.Column("actor", _name(), nullable=False),
        sa.Column("corrects_seq", sa.BigInteger(), nullable=True),
        sa.Column("period_start", _timestamp(), nullable=True),
        sa.Column("period_end", _timestamp(), nullable=True),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "(type IN ('topup', 'auto_recharge', 'refund', 'bonus', 'contract_grant', 'bonus_grant') AND amount_nanos > 0) OR (type IN ('gpu_usage', 'storage_billing') AND amount_nanos < 0) OR (type = 'admin_correction' AND amount_nanos <> 0)",
            name=op.f("ck_transactions_sign"),
        ),
        sa.CheckConstraint("(ref_type IS NULL) = (ref_id IS NULL)", name=op.f("ck_transactions_ref")),
        sa.CheckConstraint("corrects_seq < seq", name=op.f("ck_transactions_corrects")),
        sa.CheckConstraint("length(hash) = 32", name=op.f("ck_transactions_hash")),
        sa.CheckConstraint("seq >= 1", name=op.f("ck_transactions_seq")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_transactions_account_id")),
        sa.PrimaryKeyConstraint("account_id", "seq", name=op.f("pk_transactions"), postgresql_include=["amount_nanos"]),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_transactions_amount", "transactions", ["account_id", "amount_nanos", "seq"], unique=False)
    op.create_index("ix_transactions_created_at", "transactions", ["account_id", "created_at", "seq"], unique=False)
    op.create_index(
        "ix_transactions_kind",
        "transactions",
        ["account_id", "type", "source", "seq"],
        unique=False,
        postgresql_include=["amount_nanos"],
    )
    op.create_index("ix_transactions_ref_id", "transactions", ["account_id", "ref_id", "seq"], unique=False)
    op.create_index(
        "ix_transactions_ref_type", "transactions", ["account_id", "ref_type", "type", "source", "seq"], unique=False
    )
    op.create_table(
        "usage_days",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("model", _name(), nullable=False),
        sa.Column("category", _name(), nullable=False),
        sa.Column("origin", _name(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_nanos", sa.BigInteger(), nullable=False),
        sa.Column("fed_by", _name(), nullable=False),
        sa.CheckConstraint(
            "category IN ('chat', 'embedding', 'image', 'audio', 'video')",
            name=op.f("ck_usage_days_category"),
        ),
        sa.CheckConstraint("fed_by IN ('rollup', 'requests')", name=op.f("ck_usage_days_fed_by")),
        sa.CheckConstraint("origin IN ('platform', 'user_inference')", name=op.f("ck_usage_days_origin")),
        sa.CheckConstraint(
            "calls >= 0 AND input_tokens >= 0 AND output_tokens >= 0 AND cost_nanos >= 0",
            name=op.f("ck_usage_days_not_negative"),
        ),
        sa.CheckConstraint(
            "calls BETWEEN -9223372036854775807 AND 9223372036854775807 AND input_tokens BETWEEN -9223372036854775807 AND 9223372036854775807 AND output_tokens BETWEEN -9223372036854775807 AND 9223372036854775807 AND cost_nanos BETWEEN -9223372036854775807 AND 9223372036854775807",
            name=op.f("ck_usage_days_range"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_usage_days_account_id")),
        sa.PrimaryKeyConstraint("account_id", "day", "model", "category", "origin", name=op.f("pk_usage_days")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_usage_days_model",
        "usage_days",
        ["account_id", "model", "day", "category", "origin"],
        unique=False,
    )
    op.create_table(
        "usage_requests",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_usage_requests_account_id")),
        sa.PrimaryKeyConstraint("account_id", "digest", name=op.f("pk_usage_requests")),
        sqlite_with_rowid=False,
    )

    postgresql = op.get_bind().dialect.name == "postgresql"
    for guard in _POSTGRESQL_GUARDS if postgresql else _SQLITE_GUARDS:
        op.execute(guard)


def downgrade() -> None:
    raise NotImplementedError
