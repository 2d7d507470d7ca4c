"""The part of each hour's usage that was imported, and so was not charged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# Older programs count all usage as not imported.
OLDEST_PROGRAM = "0015"

_DAY_OF_HOUR = {
    "postgresql": "date '1970-01-01' + (usage_hours.hour / 24)::integer",
    "sqlite": "date(usage_hours.hour * 3600, 'unixepoch')",
}


def upgrade() -> None:
    op.add_column("usage_hours", sa.Column("imported_nanos", sa.BigInteger(), nullable=False, server_default="0"))
    # Rollups are always imported. So is all usage of an account that was never charged for any.
    op.execute(
        "UPDATE usage_hours SET imported_nanos = cost_nanos"  # noqa: S608  names of columns
        " WHERE cost_nanos <> 0 AND ("
        " NOT EXISTS (SELECT 1 FROM cost_hours AS cost"
        " WHERE cost.account_id = usage_hours.account_id AND cost.ref_type = 'api_usage')"
        " OR (span_hours = 24 AND EXISTS (SELECT 1 FROM usage_days AS fed WHERE fed.account_id = usage_hours.account_id"
        f" AND fed.day = {_DAY_OF_HOUR[op.get_context().dialect.name]} AND fed.model = usage_hours.model"
        " AND fed.category = usage_hours.category AND fed.origin = usage_hours.origin AND fed.fed_by = 'rollup')))"
    )


def downgrade() -> None:
    raise NotImplementedError
