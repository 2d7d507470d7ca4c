"""The statements that reach the drivers, seen at the drivers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import asyncpg
import pytest
from sqlalchemy import event

from db.connections.sqlite import SqliteConnection
from db.database import Database

Sent = tuple[str, tuple[Any, ...]]

_APART: Final = (
    "pg_notify",
    "pg_current_wal_insert_lsn",
    "pg_last_wal_replay_lsn",
    "pg_stat_activity",
    "ledger_archives.account_id \nFROM",
)


@contextmanager
def watched(database: Database) -> Iterator[list[Sent]]:
    """Those sent meanwhile, with their parameters. Left out are BEGIN, COMMIT, ROLLBACK, the change feed's notices, and
    looks: how far replicas are, whether rows were archived, and whether a server that has not answered for a while, as
    on a busy machine, still knows the connection."""
    sent: list[Sent] = []

    def keep(statement: str, parameters: Any) -> None:
        if not statement.startswith(("BEGIN", "COMMIT", "ROLLBACK")) and not any(name in statement for name in _APART):
            sent.append((statement, tuple(parameters)))

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        keep(statement, parameters)

    def watching(method: Callable[..., Any]) -> Callable[..., Any]:
        async def watched_method(connection: object, statement: str, *parameters: object, **options: object) -> Any:
            keep(statement, parameters)
            return await method(connection, statement, *parameters, **options)

        return watched_method

    sqlite_fetch = SqliteConnection.fetch

    async def watched_fetch(connection: SqliteConnection, statement: str, parameters: Sequence[Any] = ()) -> Any:
        keep(statement, parameters)
        return await sqlite_fetch(connection, statement, parameters)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("fetch", "fetchrow", "fetchval", "execute"):
                patch.setattr(asyncpg.Connection, name, watching(getattr(asyncpg.Connection, name)))
            if not database.is_postgresql:
                patch.setattr(SqliteConnection, "fetch", watched_fetch)
            yield sent
    finally:
        event.remove(database.engine.sync_engine, "before_cursor_execute", note)
