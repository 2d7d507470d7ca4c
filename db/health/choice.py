from __future__ import annotations

from db.database import Database
from db.health.health import HealthCheck
from db.health.postgresql import PostgresHealth
from db.health.sqlite import SqliteHealth


def health_check(database: Database) -> HealthCheck:
    """Close it before the database."""
    if database.file is not None:
        return SqliteHealth(database.file, knows_archive=database.archive.is_known)
    assert database.checking_engine is not None
    return PostgresHealth(database.checking_engine, knows_archive=database.archive.is_known)
