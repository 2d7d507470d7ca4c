"""Attribution tables: who spent what, when and at which price.

Hours are counted in UTC from 1970. In keys, an empty text means that no API key or project was named, and price 0 that
the cost was given without a price.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    text,
)

from db.tables import in_range, metadata, name, timestamp

_QUANTITIES: Final = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "units_nanos")

usage_hours = Table(
    "usage_hours",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("hour", BigInteger(), nullable=False),
    # 1; or 24 for usage of which only the UTC day is known. `hour` is then the first hour of the day.
    Column("span_hours", BigInteger(), nullable=False),
    Column("model", name(), nullable=False),
    Column("category", name(), nullable=False),
    Column("origin", name(), nullable=False),
    Column("api_key", name(), nullable=False),
    Column("project", name(), nullable=False),
    Column("price_id", BigInteger(), nullable=False),
    Column("calls", BigInteger(), nullable=False),
    Column("input_tokens", BigInteger(), nullable=False),
    # Part of the input tokens; the reasoning tokens are part of the output tokens.
    Column("cached_input_tokens", BigInteger(), nullable=False),
    Column("output_tokens", BigInteger(), nullable=False),
    Column("reasoning_tokens", BigInteger(), nullable=False),
    # Images, seconds and the like, in billionths.
    Column("units_nanos", BigInteger(), nullable=False),
    Column("cost_nanos", BigInteger(), nullable=False),
    # Part of the cost that was imported, and so was not charged.
    Column("imported_nanos", BigInteger(), nullable=False, server_default=text("0")),
    PrimaryKeyConstraint(
        *("account_id", "hour", "span_hours", "model", "category", "origin", "api_key", "project", "price_id")
    ),
    CheckConstraint("span_hours = 1 OR (span_hours = 24 AND hour % 24 = 0)", name="span"),
    CheckConstraint(in_range("calls", *_QUANTITIES, "cost_nanos"), name="range"),
    sqlite_with_rowid=False,
)

cost_hours = Table(
    "cost_hours",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    # The hour in which the rows were written.
    Column("hour", BigInteger(), nullable=False),
    # Of the rows; empty for rows without one. The rows of API usage are added up with an empty ref id.
    Column("ref_type", name(), nullable=False),
    Column("ref_id", name(), nullable=False),
    Column("api_key", name(), nullable=False),
    Column("project", name(), nullable=False),
    # The cost is the gross amount less what was returned of holds, as in monthly_figures.
    Column("gross_nanos", BigInteger(), nullable=False),
    Column("refunded_nanos", BigInteger(), nullable=False),
    PrimaryKeyConstraint("account_id", "hour", "ref_type", "ref_id", "api_key", "project"),
    CheckConstraint(in_range("gross_nanos", "refunded_nanos"), name="range"),
    sqlite_with_rowid=False,
)

usage_prices = Table(
    "usage_prices",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    # The digest of all that follows, so that each different price is stored once: ledger/usage_prices.py.
    Column("id", BigInteger(), nullable=False),
    # Nano-dollars per million tokens. Null: cached input tokens cost what the other input tokens cost, and reasoning
    # tokens what the other output tokens cost.
    Column("input_nanos", BigInteger(), nullable=False),
    Column("cached_input_nanos", BigInteger()),
    Column("output_nanos", BigInteger(), nullable=False),
    Column("reasoning_nanos", BigInteger()),
    # Nano-dollars per unit and per call.
    Column("unit_nanos", BigInteger(), nullable=False),
    Column("call_nanos", BigInteger(), nullable=False),
    Column("valid_from", timestamp()),
    Column("valid_until", timestamp()),
    # 'request': named by the request. 'table': from the operator's price table. 'list': from genai-prices.
    Column("source", name(), nullable=False),
    PrimaryKeyConstraint("account_id", "id"),
    CheckConstraint("id > 0", name="id"),
    CheckConstraint("source IN ('request', 'table', 'list')", name="source"),
    sqlite_with_rowid=False,
)

request_details = Table(
    "request_details",
    metadata,
    # Requests in full, for the time that the operator keeps them. `usage_requests` has the digests of all.
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("at", timestamp(), nullable=False),
    Column("digest", LargeBinary(), nullable=False),
    # Null for a line of a log without ids.
    Column("request_id", String()),
    Column("model", name(), nullable=False),
    Column("category", name(), nullable=False),
    Column("origin", name(), nullable=False),
    Column("api_key", name()),
    Column("project", name()),
    Column("end_user", name()),
    Column("input_tokens", BigInteger(), nullable=False),
    Column("cached_input_tokens", BigInteger(), nullable=False),
    Column("output_tokens", BigInteger(), nullable=False),
    Column("reasoning_tokens", BigInteger(), nullable=False),
    Column("units_nanos", BigInteger(), nullable=False),
    Column("cost_nanos", BigInteger(), nullable=False),
    Column("price_id", BigInteger(), nullable=False),
    # The row that charged the request's batch; null if the request was imported or its batch cost nothing.
    Column("seq", BigInteger()),
    PrimaryKeyConstraint("account_id", "at", "digest"),
    Index("ix_request_details_digest", "account_id", "digest"),
    sqlite_with_rowid=False,
)

usage_marks = Table(
    "usage_marks",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("service", name(), nullable=False),
    # The service has reported all usage before this moment.
    Column("complete_until", timestamp(), nullable=False),
    PrimaryKeyConstraint("account_id", "service"),
    sqlite_with_rowid=False,
)
