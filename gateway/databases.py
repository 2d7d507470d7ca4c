"""The database of the settings, for commands that need no other part."""

from __future__ import annotations

from db.database import Database, DatabaseOptions
from gateway.settings import Settings


def open_database(settings: Settings) -> Database:
    return Database(
        DatabaseOptions(
            url=settings.database_url,
            pool_size=settings.pool_size,
            statement_timeout_seconds=settings.statement_timeout_seconds,
            lock_timeout_seconds=settings.lock_timeout_seconds,
            silence_seconds=settings.database_silence_seconds,
        )
    )
