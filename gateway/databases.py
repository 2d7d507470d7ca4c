"""The database of the settings, for commands that need no other part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db.database import Database, DatabaseOptions
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.tracing import Tracing


def open_database(settings: Settings, *, direct: bool = False, tracing: Tracing | None = None) -> Database:
    """`direct` leaves out the pooler, if there is one."""
    direct_url = settings.direct_database_url
    return Database(
        DatabaseOptions(
            url=direct_url if direct and direct_url is not None else settings.database_url,
            direct_url=None if direct else direct_url,
            read_urls=() if direct else settings.read_urls,
            max_lag_seconds=settings.max_replica_lag_seconds,
            pool_size=settings.pool_size,
            statement_timeout_seconds=settings.statement_timeout_seconds,
            lock_timeout_seconds=settings.lock_timeout_seconds,
            silence_seconds=settings.database_silence_seconds,
            archive_url=settings.archive_url,
            trace=None if tracing is None else tracing.statement,
        )
    )
