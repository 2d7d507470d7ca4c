"""An index by account for what was credited: moving an account copies and removes its part."""

from __future__ import annotations

from typing import Final

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

# Older programs need not know the index.
OLDEST_PROGRAM = "0019"

CONCURRENT_INDEXES: Final = {"ix_stripe_credits_account_id": "stripe_credits (account_id)"}


def upgrade() -> None:
    pass


def downgrade() -> None:
    raise NotImplementedError
