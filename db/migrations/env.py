"""Alembic environment. Alembic runs it with the connection from `db.schema_version`."""

from alembic import context

from db import (  # noqa: F401  their tables are of the metadata
    attribution_tables,
    company_tables,
    integrity_tables,
    limit_tables,
    shard_tables,
    stripe_tables,
    volume_tables,
)
from db.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
