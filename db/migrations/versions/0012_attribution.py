"""Usage and cost by hour, API key and project; prices; requests in full; authorizations and spend limits.

Usage that was recorded before is known by the UTC day only. Its days become rows that span 24 hours. Cost by hour is
added up from the ledger's rows. No stored figure changes.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from db.tables import EpochMicroseconds

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# Older programs would post without adding to the hours and without looking at limits.
OLDEST_PROGRAM = "0012"

_ATTRIBUTED = ("charges", "transactions", "volumes")

_HOUR_OF_DAY = {
    "postgresql": "(day - DATE '1970-01-01') * 24",
    "sqlite": "CAST(strftime('%s', day) AS INTEGER) / 3600",
}
_HOUR_OF_ROW = {
    "postgresql": "floor(extract(epoch FROM created_at) / 3600)::bigint",
    "sqlite": "created_at / 3600000000",
}


def _name() -> sa.types.TypeEngine[str]:
    return sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _timestamp() -> sa.types.TypeEngine[datetime]:
    return sa.DateTime(timezone=True).with_variant(EpochMicroseconds(), "sqlite")


def _number(name: str, *, nullable: bool = False) -> sa.schema.SchemaItem:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, _name(), nullable=nullable)


def _moment(name: str, *, nullable: bool = False) -> sa.schema.SchemaItem:
    return sa.Column(name, _timestamp(), nullable=nullable)


def _in_range(*columns: str) -> str:
    return " AND ".join(f"{column} BETWEEN -9223372036854775807 AND 9223372036854775807" for column in columns)


def _table(name: str, *columns: sa.schema.SchemaItem, key: tuple[str, ...], full: bool = True) -> None:
    """Creates a table of account data. With `full=False`, pages are left with room for updates."""
    op.create_table(
        name,
        _number("account_id"),
        *columns,
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f(f"fk_{name}_account_id")),
        sa.PrimaryKeyConstraint("account_id", *key, name=op.f(f"pk_{name}")),
        sqlite_with_rowid=False,
        postgresql_with=None if full else {"fillfactor": 70},
    )


def _usage() -> None:
    figures = ("calls", "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "units_nanos")
    _table(
        "usage_hours",
        *(_number("hour"), _number("span_hours")),
        *(_text("model"), _text("category"), _text("origin"), _text("api_key"), _text("project"), _number("price_id")),
        *map(_number, (*figures, "cost_nanos")),
        sa.CheckConstraint("span_hours = 1 OR (span_hours = 24 AND hour % 24 = 0)", name=op.f("ck_usage_hours_span")),
        sa.CheckConstraint(_in_range(*figures, "cost_nanos"), name=op.f("ck_usage_hours_range")),
        key=("hour", "span_hours", "model", "category", "origin", "api_key", "project", "price_id"),
    )
    _table(
        "usage_prices",
        *(_number("id"), _number("input_nanos"), _number("cached_input_nanos", nullable=True)),
        *(_number("output_nanos"), _number("reasoning_nanos", nullable=True), _number("unit_nanos")),
        *(_number("call_nanos"), _moment("valid_from", nullable=True), _moment("valid_until", nullable=True)),
        _text("source"),
        sa.CheckConstraint("id > 0", name=op.f("ck_usage_prices_id")),
        sa.CheckConstraint("source IN ('request', 'table', 'list')", name=op.f("ck_usage_prices_source")),
        key=("id",),
    )
    _table(
        "request_details",
        *(_moment("at"), sa.Column("digest", sa.LargeBinary(), nullable=False)),
        sa.Column("request_id", sa.String(), nullable=True),
        *(_text("model"), _text("category"), _text("origin")),
        *(_text("api_key", nullable=True), _text("project", nullable=True), _text("end_user", nullable=True)),
        *(_number("input_tokens"), _number("cached_input_tokens"), _number("output_tokens")),
        *(_number("reasoning_tokens"), _number("units_nanos"), _number("cost_nanos"), _number("price_id")),
        _number("seq", nullable=True),
        key=("at", "digest"),
    )
    op.create_index("ix_request_details_digest", "request_details", ["account_id", "digest"])
    _table("usage_marks", _text("service"), _moment("complete_until"), key=("service",))


def _costs() -> None:
    _table(
        "cost_hours",
        *(_number("hour"), _text("ref_type"), _text("ref_id"), _text("api_key"), _text("project")),
        *(_number("gross_nanos"), _number("refunded_nanos")),
        sa.CheckConstraint(_in_range("gross_nanos", "refunded_nanos"), name=op.f("ck_cost_hours_range")),
        key=("hour", "ref_type", "ref_id", "api_key", "project"),
    )


def _limits() -> None:
    _table(
        "authorizations",
        *(_number("number"), _text("state"), _number("amount_nanos"), _number("captured_nanos")),
        *(_moment("created_at"), _moment("expires_at"), _moment("closed_at", nullable=True)),
        *(_text("api_key"), _text("project"), _text("ref_id", nullable=True)),
        sa.CheckConstraint("state IN ('open', 'captured', 'released')", name=op.f("ck_authorizations_state")),
        sa.CheckConstraint("amount_nanos > 0 AND captured_nanos >= 0", name=op.f("ck_authorizations_amounts")),
        key=("number",),
        full=False,
    )
    is_open = sa.text("state = 'open'")
    op.create_index(
        "ix_authorizations_open",
        "authorizations",
        ["account_id", "expires_at"],
        postgresql_where=is_open,
        sqlite_where=is_open,
        postgresql_include=["api_key", "project", "amount_nanos", "captured_nanos"],
    )
    _table(
        "spend_limits",
        *(_number("number"), _text("api_key"), _text("project"), _text("window_kind"), _number("amount_nanos")),
        sa.Column("notify_at", sa.String(), nullable=False),
        *(_moment("created_at"), _moment("updated_at"), _moment("deleted_at", nullable=True)),
        *(_number("spent_nanos"), _moment("window_start"), _number("notified_percent")),
        sa.CheckConstraint("window_kind IN ('day', 'week', 'month', 'total')", name=op.f("ck_spend_limits_window")),
        sa.CheckConstraint("amount_nanos > 0", name=op.f("ck_spend_limits_amount")),
        key=("number",),
        full=False,
    )
    in_force = sa.text("deleted_at IS NULL")
    op.create_index(
        "uq_spend_limits_scope",
        "spend_limits",
        ["account_id", "api_key", "project", "window_kind"],
        unique=True,
        postgresql_where=in_force,
        sqlite_where=in_force,
    )
    _table(
        "spend_limit_events",
        *map(_number, ("seq", "limit_number", "percent", "amount_nanos", "spent_nanos")),
        key=("seq", "limit_number", "percent"),
    )


def _fill(database: str) -> None:
    op.execute(
        "INSERT INTO usage_hours"  # noqa: S608  names of columns
        " (account_id, hour, span_hours, model, category, origin, api_key, project, price_id,"
        " calls, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, units_nanos, cost_nanos)"
        f" SELECT account_id, {_HOUR_OF_DAY[database]}, 24, model, category, origin, '', '', 0,"
        " calls, input_tokens, 0, output_tokens, 0, 0, cost_nanos FROM usage_days"
    )
    op.execute(
        "INSERT INTO cost_hours"  # noqa: S608
        " (account_id, hour, ref_type, ref_id, api_key, project, gross_nanos, refunded_nanos)"
        f" SELECT account_id, {_HOUR_OF_ROW[database]}, coalesce(ref_type, ''),"
        " CASE WHEN ref_type = 'api_usage' THEN '' ELSE coalesce(ref_id, '') END, '', '',"
        " -sum(CASE WHEN type = 'refund' THEN 0 ELSE amount_nanos END),"
        " sum(CASE WHEN type = 'refund' THEN amount_nanos ELSE 0 END)"
        " FROM transactions"
        " WHERE type IN ('gpu_usage', 'storage_billing') OR (type = 'refund' AND source = 'metering')"
        " GROUP BY 1, 2, 3, 4"
    )


def upgrade() -> None:
    for table in _ATTRIBUTED:
        op.add_column(table, _text("api_key", nullable=True))
        op.add_column(table, _text("project", nullable=True))
    _usage()
    _costs()
    _limits()
    _fill(op.get_context().dialect.name)


def downgrade() -> None:
    raise NotImplementedError
