"""Tables. Money is in nano-dollars, times are UTC with microseconds, enumerations are lowercase names.

Every key and index of account data begins with the account, so that the tables can be distributed by account.
Exceptions are API keys and tokens, which are found by their digest, tables that are found by Stripe's ids, the
operators' list of accounts, the audit list, and the shards' directory. Further tables are in `db.attribution_tables`,
`db.company_tables`, `db.limit_tables`, `db.stripe_tables`, `db.volume_tables`, `db.integrity_tables` and
`db.shard_tables`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
    text,
)

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class EpochMicroseconds(TypeDecorator[datetime]):
    """Stores times as whole microseconds since 1970, which sort and compare exactly. SQLite has no type for times."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


def timestamp() -> TypeEngine[datetime]:
    return DateTime(timezone=True).with_variant(EpochMicroseconds(), "sqlite")


def name() -> TypeEngine[str]:
    """Text that both databases compare and order by its bytes."""
    return String().with_variant(String(collation="C"), "postgresql")


def identity() -> TypeEngine[int]:
    return BigInteger().with_variant(Integer(), "sqlite")


def in_range(*columns: str) -> str:
    return " AND ".join(f"{column} BETWEEN -{2**63 - 1} AND {2**63 - 1}" for column in columns)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", identity(), primary_key=True, autoincrement=True),
    Column("external_id", name()),
    Column("name", String(), nullable=False),
    Column("currency", name(), nullable=False, server_default="USD"),
    Column("status", name(), nullable=False, server_default="active"),
    Column("created_at", timestamp(), nullable=False),
    # The head of the account's ledger. Every posting transaction locks this row, so the head is always the newest
    # committed row, and the balance needs one look-up however long the ledger is.
    Column("head_seq", BigInteger(), nullable=False, server_default="0"),
    Column("head_at", timestamp()),
    Column("head_hash", LargeBinary()),
    Column("balance_nanos", BigInteger(), nullable=False, server_default="0"),
    # Filled by `db.folding.folded_column`.
    Column("name_folded", name()),
    Column("external_id_folded", name()),
    # Rows up to this `seq` are in the archive and no longer in the table below; 0 if all rows are in the table.
    Column("archived_seq", BigInteger(), nullable=False, server_default="0"),
    # The shard that the account is on, if it is not this one: it was moved there, or is being moved here.
    Column("shard", BigInteger()),
    UniqueConstraint("external_id"),
    CheckConstraint("status IN ('active', 'suspended')", name="status"),
    CheckConstraint("head_seq >= 0", name="head_seq"),
    # Leaves room for updates of the head on the same page (heap-only tuples).
    postgresql_with={"fillfactor": 70},
)

transactions = Table(
    "transactions",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("seq", BigInteger(), nullable=False),
    Column("created_at", timestamp(), nullable=False),
    Column("type", name(), nullable=False),
    Column("amount_nanos", BigInteger(), nullable=False),
    Column("balance_after_nanos", BigInteger(), nullable=False),
    Column("description", String(), nullable=False),
    Column("source", name(), nullable=False),
    Column("ref_type", name()),
    Column("ref_id", name()),
    Column("actor", name(), nullable=False),
    Column("corrects_seq", BigInteger()),
    Column("period_start", timestamp()),
    Column("period_end", timestamp()),
    Column("hash", LargeBinary(), nullable=False),
    # Filled by `db.folding.folded_column`. They are derived from the row and not covered by its hash.
    Column("description_folded", name()),
    Column("ref_id_folded", name()),
    # Who spent the amount, not covered by the hash; null if nobody said, or if a row of API usage has several.
    Column("api_key", name()),
    Column("project", name()),
    # The amount is included so that an amount filter can scan the key without reading rows that it rejects.
    PrimaryKeyConstraint("account_id", "seq", postgresql_include=["amount_nanos"]),
    Index("ix_transactions_created_at", "account_id", "created_at", "seq"),
    # A type has few possible sources, so one index serves both filters: a list of types or sources is read by merging
    # at most a dozen (type, source) ranges, each in seq order.
    Index("ix_transactions_kind", "account_id", "type", "source", "seq", postgresql_include=["amount_nanos"]),
    Index("ix_transactions_amount", "account_id", "amount_nanos", "seq"),
    # Every kind of row may refer to a resource, so a filter by ref type is also read by merging ranges, one per kind.
    Index("ix_transactions_ref_type", "account_id", "ref_type", "type", "source", "seq"),
    Index("ix_transactions_ref_id", "account_id", "ref_id", "seq"),
    CheckConstraint("seq >= 1", name="seq"),
    CheckConstraint(
        "(type IN ('topup', 'auto_recharge', 'refund', 'bonus', 'contract_grant', 'bonus_grant')"
        " AND amount_nanos > 0)"
        " OR (type IN ('gpu_usage', 'storage_billing') AND amount_nanos < 0)"
        " OR (type = 'admin_correction' AND amount_nanos <> 0)",
        name="sign",
    ),
    CheckConstraint("(ref_type IS NULL) = (ref_id IS NULL)", name="ref"),
    CheckConstraint("length(hash) = 32", name="hash"),
    CheckConstraint("corrects_seq < seq", name="corrects"),
    sqlite_with_rowid=False,
)

holds = Table(
    "holds",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("hold_seq", BigInteger(), nullable=False),
    Column("ref_type", name(), nullable=False),
    Column("ref_id", name(), nullable=False),
    Column("cycle", BigInteger(), nullable=False),
    Column("held_nanos", BigInteger(), nullable=False),
    Column("month", name(), nullable=False),
    Column("state", name(), nullable=False),
    Column("period_start", timestamp(), nullable=False),
    Column("period_end", timestamp(), nullable=False),
    Column("used_nanos", BigInteger()),
    # The row that refunded the rest or charged the overage; null while open, and if nothing was left to post.
    Column("settled_seq", BigInteger()),
    Column("settled_at", timestamp()),
    # When the hold expired because its owner had vanished. Kept if a late settlement follows.
    Column("expired_at", timestamp()),
    PrimaryKeyConstraint("account_id", "hold_seq"),
    Index("ix_holds_ref", "account_id", "ref_type", "ref_id", "hold_seq"),
    Index(
        "ix_holds_open",
        "account_id",
        "period_end",
        postgresql_where=text("state = 'open'"),
        sqlite_where=text("state = 'open'"),
    ),
    Index(
        "ix_holds_settled_seq",
        "account_id",
        "settled_seq",
        unique=True,
        postgresql_where=text("settled_seq IS NOT NULL"),
        sqlite_where=text("settled_seq IS NOT NULL"),
    ),
    CheckConstraint("state IN ('open', 'settled', 'expired')", name="state"),
    CheckConstraint("held_nanos > 0", name="held"),
    sqlite_with_rowid=False,
)

charges = Table(
    "charges",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("ref_type", name(), nullable=False),
    Column("ref_id", name(), nullable=False),
    Column("state", name(), nullable=False),
    Column("held_nanos", BigInteger(), nullable=False),
    Column("refunded_nanos", BigInteger(), nullable=False),
    Column("overage_nanos", BigInteger(), nullable=False),
    # Charged without a hold: the daily rows of a volume.
    Column("billed_nanos", BigInteger(), nullable=False),
    Column("cycles", BigInteger(), nullable=False),
    # The newest hold's row; null for resources that are billed without holds.
    Column("hold_seq", BigInteger()),
    Column("first_seq", BigInteger(), nullable=False),
    Column("last_seq", BigInteger(), nullable=False),
    Column("opened_at", timestamp(), nullable=False),
    Column("closed_at", timestamp()),
    # Of the resource, and of all its rows.
    Column("api_key", name()),
    Column("project", name()),
    PrimaryKeyConstraint("account_id", "ref_type", "ref_id"),
    Index("ix_charges_first_seq", "account_id", "first_seq"),
    # There are few states and ref types, so a list filtered by either or both is read by merging their ranges.
    Index("ix_charges_state", "account_id", "state", "ref_type", "first_seq"),
    CheckConstraint("state IN ('open', 'settled', 'expired')", name="state"),
    sqlite_with_rowid=False,
)

usage_days = Table(
    "usage_days",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("day", Date(), nullable=False),
    Column("model", name(), nullable=False),
    Column("category", name(), nullable=False),
    Column("origin", name(), nullable=False),
    Column("calls", BigInteger(), nullable=False),
    Column("input_tokens", BigInteger(), nullable=False),
    Column("output_tokens", BigInteger(), nullable=False),
    Column("cost_nanos", BigInteger(), nullable=False),
    # 'rollup': the figures of one rollup line. 'requests': the sum of single requests.
    Column("fed_by", name(), nullable=False),
    PrimaryKeyConstraint("account_id", "day", "model", "category", "origin"),
    Index("ix_usage_days_model", "account_id", "model", "day", "category", "origin"),
    CheckConstraint("category IN ('chat', 'embedding', 'image', 'audio', 'video')", name="category"),
    CheckConstraint("origin IN ('platform', 'user_inference')", name="origin"),
    CheckConstraint("fed_by IN ('rollup', 'requests')", name="fed_by"),
    CheckConstraint(in_range("calls", "input_tokens", "output_tokens", "cost_nanos"), name="range"),
    CheckConstraint("calls >= 0 AND input_tokens >= 0 AND output_tokens >= 0 AND cost_nanos >= 0", name="not_negative"),
    sqlite_with_rowid=False,
)

usage_requests = Table(
    "usage_requests",
    metadata,
    # The digest of a request that has been counted: see ledger/usage.py.
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("digest", LargeBinary(), nullable=False),
    PrimaryKeyConstraint("account_id", "digest"),
    sqlite_with_rowid=False,
)

monthly_figures = Table(
    "monthly_figures",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("month", name(), nullable=False),  # '2026-11', UTC
    Column("gross_nanos", BigInteger(), nullable=False, server_default="0"),
    Column("refunded_nanos", BigInteger(), nullable=False, server_default="0"),
    Column("open_holds_nanos", BigInteger(), nullable=False, server_default="0"),
    Column("platform_calls", BigInteger(), nullable=False, server_default="0"),
    Column("user_inference_calls", BigInteger(), nullable=False, server_default="0"),
    Column("tokens", BigInteger(), nullable=False, server_default="0"),
    PrimaryKeyConstraint("account_id", "month"),
    # The database adds to these counters. PostgreSQL refuses to overflow; SQLite would continue in floats.
    CheckConstraint(in_range("gross_nanos", "refunded_nanos", "open_holds_nanos"), name="money_range"),
    CheckConstraint(in_range("platform_calls", "user_inference_calls", "tokens"), name="usage_range"),
    sqlite_with_rowid=False,
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("operation", name(), nullable=False),
    Column("key", name(), nullable=False),
    Column("payload_digest", LargeBinary(), nullable=False),
    # The rows of the call are consecutive, because the account was locked: first to last, or none if last < first.
    Column("first_seq", BigInteger(), nullable=False),
    Column("last_seq", BigInteger(), nullable=False),
    Column("balance_nanos", BigInteger(), nullable=False),
    Column("to_stop", Boolean(), nullable=False),
    Column("created_at", timestamp(), nullable=False),
    # A number that the operation returns; for recordUsage, the number of counted requests.
    Column("result", BigInteger()),
    PrimaryKeyConstraint("account_id", "operation", "key"),
    sqlite_with_rowid=False,
)

_LASTING = text("session_of IS NULL")
_SESSIONS = text("session_of IS NOT NULL")

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", identity(), primary_key=True, autoincrement=True),
    Column("prefix", name(), nullable=False),
    Column("digest", LargeBinary(), nullable=False),
    Column("scope", name(), nullable=False),
    Column("account_id", BigInteger(), ForeignKey("accounts.id")),
    # JSON lists for service keys; null means all.
    Column("account_ids", String()),
    Column("operations", String()),
    Column("owner", String(), nullable=False),
    Column("created_at", timestamp(), nullable=False),
    Column("last_used_at", timestamp()),
    Column("expires_at", timestamp()),
    Column("revoked_at", timestamp()),
    Column("replaced_by", BigInteger()),
    # A JSON list of networks; null means all.
    Column("allowed_addresses", String()),
    Column("last_used_address", String()),
    # The key that a sign-in link was made with, if this key is a session or was created by one: it ends with that key.
    Column("session_of", BigInteger()),
    # The rate of this key; null for that of its scope. Both are null, or neither.
    Column("points_per_second", BigInteger()),
    Column("burst_points", BigInteger()),
    # The shard that the key is on with its account, if it is not this one.
    Column("shard", BigInteger()),
    UniqueConstraint("digest"),
    UniqueConstraint("prefix"),
    Index("ix_api_keys_account_id", "account_id"),
    Index("ix_api_keys_lasting", "account_id", "id", postgresql_where=_LASTING, sqlite_where=_LASTING),
    Index("ix_api_keys_session_of", "session_of", postgresql_where=_SESSIONS, sqlite_where=_SESSIONS),
    CheckConstraint("scope IN ('read', 'manage', 'service', 'operator')", name="scope"),
    CheckConstraint("(account_id IS NOT NULL) = (scope IN ('read', 'manage'))", name="account"),
)

tokens = Table(
    "tickets",  # its original name
    metadata,
    Column("digest", LargeBinary(), nullable=False),
    Column("purpose", name(), nullable=False),
    Column("key_id", BigInteger(), ForeignKey("api_keys.id"), nullable=False),
    Column("payload", String()),
    Column("created_at", timestamp(), nullable=False),
    Column("expires_at", timestamp(), nullable=False),
    # Set when the token was redeemed, if it can be redeemed only once.
    Column("used_at", timestamp()),
    PrimaryKeyConstraint("digest"),
    Index("ix_tickets_expires_at", "expires_at"),
    Index("ix_tickets_key_id", "key_id", "purpose", "created_at"),
    CheckConstraint("purpose IN ('stream', 'export', 'sign_in')", name="purpose"),
    CheckConstraint("length(digest) = 32", name="digest"),
    sqlite_with_rowid=False,
)

idempotent_acts = Table(
    "idempotent_acts",
    metadata,
    # The account of the call, as 'acct_7'; '' for a call without account.
    Column("scope", name(), nullable=False),
    Column("operation", name(), nullable=False),
    Column("key", name(), nullable=False),
    Column("payload_digest", LargeBinary(), nullable=False),
    # The result: null until the call's transaction ends.
    Column("account_id", BigInteger(), ForeignKey("accounts.id")),
    Column("key_prefix", name()),
    Column("balance_nanos", BigInteger()),
    # The rows of a new account are 1 to this number.
    Column("last_seq", BigInteger()),
    Column("created_at", timestamp(), nullable=False),
    PrimaryKeyConstraint("scope", "operation", "key"),
    sqlite_with_rowid=False,
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("id", identity(), primary_key=True, autoincrement=True),
    Column("at", timestamp(), nullable=False),
    # The name of the mutation, even if the command line was used.
    Column("act", name(), nullable=False),
    # The prefix of the key and its owner at that time; or the name of another way to act, and the person.
    Column("actor", name(), nullable=False),
    Column("owner", String(), nullable=False),
    Column("account_id", BigInteger(), ForeignKey("accounts.id")),
    Column("key_prefix", name()),
    Column("description", String()),
    # The account's rows that the change wrote: first to last.
    Column("first_seq", BigInteger()),
    Column("last_seq", BigInteger()),
    # The scope of the actor's key; null for entries from before this column, and for other ways to act.
    Column("scope", name()),
    # What was changed, as text: before and after.
    Column("old_value", String()),
    Column("new_value", String()),
    Index("ix_audit_entries_account_id", "account_id", "id"),
    Index("ix_audit_entries_act", "act", "id"),
    Index("ix_audit_entries_actor", "actor", "id"),
    Index("ix_audit_entries_at", "at", "id"),
    CheckConstraint("(first_seq IS NULL) = (last_seq IS NULL)", name="rows"),
)

schema_compatibility = Table(
    "schema_compatibility",
    metadata,
    Column("id", BigInteger(), primary_key=True, autoincrement=False),
    # The version of the oldest program that can work on these tables. A program that does not know their version checks
    # this one (db/schema_version.py).
    Column("oldest_program", name(), nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)
