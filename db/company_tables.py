"""Company tables: what customers say of themselves for their statements."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, PrimaryKeyConstraint, String, Table

from db.tables import metadata, timestamp

company_details = Table(
    "company_details",
    metadata,
    Column("account_id", BigInteger(), ForeignKey("accounts.id"), nullable=False),
    Column("name", String(), nullable=False),
    # Lines, separated by line feeds, which no line has in it.
    Column("address", String(), nullable=False),
    Column("tax_id", String()),
    Column("updated_at", timestamp(), nullable=False),
    PrimaryKeyConstraint("account_id"),
    sqlite_with_rowid=False,
)
