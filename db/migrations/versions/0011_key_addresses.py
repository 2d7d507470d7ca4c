"""The addresses that a key is restricted to, and the address that it was last used from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# Older programs would accept a restricted key from everywhere, and rotate it into one without restriction.
OLDEST_PROGRAM = "0011"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("allowed_addresses", sa.String(), nullable=True))
    op.add_column("api_keys", sa.Column("last_used_address", sa.String(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError
