"""How many files the process may have open: each connection is one."""

from __future__ import annotations

import resource
from typing import Final

import structlog

from gateway.settings import Settings

log = structlog.get_logger()

OWN_FILES: Final = 100
"""Number of files of the process, besides connections of clients and of the database."""
FILES_PER_DATABASE_CONNECTION: Final = 4
"""SQLite opens the database, its log and its index."""
MIN_CONNECTIONS: Final = 10


def _raised_limit() -> int:
    """Raises the soft limit, which is often 1,024, to the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def within_file_limit(settings: Settings) -> Settings:
    """The settings, with no more connections of clients than there are files for."""
    files = _raised_limit()
    own = OWN_FILES + FILES_PER_DATABASE_CONNECTION * 2 * settings.pool_size
    if files == resource.RLIM_INFINITY or settings.max_connections <= files - own:
        return settings
    most = max(MIN_CONNECTIONS, files - own)
    log.warning("fewer connections than set: raise the limit of open files (ulimit -Hn)", files=files, connections=most)
    return settings.model_copy(update={"max_connections": most})
