"""Folded names of the accounts that imports created without them: searches missed such accounts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from db.folding import folded_column

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# Nothing but values changes.
OLDEST_PROGRAM = "0016"

_MORE_BYTES = {
    "postgresql": "octet_length(external_id) > length(external_id)",
    "sqlite": "length(CAST(external_id AS BLOB)) > length(external_id)",
}


def upgrade() -> None:
    connection = op.get_bind()
    found = connection.execute(
        sa.text(
            "SELECT id, external_id FROM accounts"  # noqa: S608  a condition from above
            " WHERE name = external_id AND name_folded IS NULL AND external_id_folded IS NULL"
            f" AND {_MORE_BYTES[connection.dialect.name]} ORDER BY id"
        )
    )
    folded = [{"of": row.id, "folded": text} for row in found if (text := folded_column(row.external_id))]
    if folded:
        update = "UPDATE accounts SET name_folded = :folded, external_id_folded = :folded WHERE id = :of"
        connection.execute(sa.text(update), folded)


def downgrade() -> None:
    raise NotImplementedError
