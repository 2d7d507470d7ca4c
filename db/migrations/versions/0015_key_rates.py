"""The rate that an operator has set for one key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# Older programs give a key the rate of its scope.
OLDEST_PROGRAM = "0014"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("points_per_second", sa.BigInteger(), nullable=True))
    op.add_column("api_keys", sa.Column("burst_points", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError
