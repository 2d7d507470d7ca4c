"""Database errors, as the layers above see them.

    DatabaseError
    ├── DatabaseUnavailable     unreachable, shutting down, out of connections, locked too long
    │   ├── AccountMoved        the account was moved to another shard while it was read
    │   ├── ClockWrong          this process's clock is far from the server's; nothing was written
    │   ├── DatabaseFull        no space left; nothing of the transaction was kept
    │   ├── LockUnavailable     another transaction kept a row locked; nothing was kept
    │   └── TransactionConflict a deadlock with another transaction, or a serialization failure; nothing was kept
    ├── StatementTimeout        a statement took longer than it may
    ├── DuplicateKey            another row has this unique value already
    ├── NumberOutOfRange        a sum left the 64-bit range
    └── SchemaMismatch          there are no tables, or none that this program can work on

Anything else that a driver raises is a defect and rises as it is.
"""

from __future__ import annotations

import sqlite3
import ssl
from collections.abc import Iterator
from typing import Final

import asyncpg
from sqlalchemy import exc

CONNECTION_LOST: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""Errors of asyncpg when a connection has ended. `InternalClientError`: the server has announced the end, but has not
closed the connection yet."""


class DatabaseError(Exception):
    """Base of the errors of this module. The text may be shown to an operator, but not to a client."""


class DatabaseUnavailable(DatabaseError):
    pass


class AccountMoved(DatabaseUnavailable):
    """The rows that were read may be old: they must be read again, on the shard that has the account now."""


class ClockWrong(DatabaseUnavailable):
    """The text may be shown to a client: it contains only the two times."""


class DatabaseFull(DatabaseUnavailable):
    pass


class LockUnavailable(DatabaseUnavailable):
    pass


class TransactionConflict(DatabaseUnavailable):
    pass


class StatementTimeout(DatabaseError):
    pass


class DuplicateKey(DatabaseError):
    pass


class NumberOutOfRange(DatabaseError):
    pass


class SchemaMismatch(DatabaseError):
    pass


_SQLITE_UNAVAILABLE: Final = {
    sqlite3.SQLITE_BUSY: "the database is locked by another process",
    sqlite3.SQLITE_LOCKED: "the database is locked",
    sqlite3.SQLITE_CANTOPEN: "the database's file cannot be opened",
    sqlite3.SQLITE_IOERR: "the database's file cannot be read or written",
    sqlite3.SQLITE_READONLY: "the database's file or its folder cannot be written",
    sqlite3.SQLITE_CORRUPT: "the database's file is damaged",
    sqlite3.SQLITE_NOTADB: "the database's file is not an SQLite database",
    sqlite3.SQLITE_PROTOCOL: "the database is locked",
}

# Classes of SQLSTATE: 08 connection, 53 resources, 57P admin shutdown and crash, 25006 read-only standby.
_POSTGRES_UNAVAILABLE = ("08", "53", "57P", "25006", "3D000", "28")


def _failed_check(cause: sqlite3.Error) -> str:
    text = str(cause)
    return text if text.startswith("CHECK constraint failed") else ""


def _from_sqlite(cause: sqlite3.Error) -> DatabaseError | None:
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return DatabaseFull("the database's disk is full")
    if code in _SQLITE_UNAVAILABLE:
        return DatabaseUnavailable(f"{_SQLITE_UNAVAILABLE[code]} ({cause.sqlite_errorname})")
    if code == sqlite3.SQLITE_INTERRUPT:
        return StatementTimeout("a statement exceeded the configured time limit")
    if "integer overflow" in str(cause) or "range" in _failed_check(cause):
        return NumberOutOfRange("a sum exceeded the 64-bit range")
    return None


def _from_sqlstate(state: str) -> DatabaseError | None:
    if state == "53100":
        return DatabaseFull("the database's disk is full")
    if state in {"40001", "40P01"}:
        return TransactionConflict(
            f"a concurrent transaction conflicted (SQLSTATE {state}): nothing was written, try again"
        )
    if state == "55P03":
        return LockUnavailable("another transaction holds a lock that this one needs (SQLSTATE 55P03)")
    if state == "57014":
        return StatementTimeout("a statement exceeded the configured time limit")
    if state in {"22003", "22012"}:
        return NumberOutOfRange("a sum exceeded the 64-bit range")
    if state == "42501":
        return DatabaseUnavailable("the database role lacks a required permission (SQLSTATE 42501)")
    if state.startswith(_POSTGRES_UNAVAILABLE):
        return DatabaseUnavailable(f"the database is unavailable (SQLSTATE {state})")
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    todo = [error]
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo.extend(
            next_one
            for next_one in (one.__cause__, one.__context__, getattr(one, "orig", None))
            if isinstance(next_one, BaseException)
        )


def _from_connecting(cause: BaseException) -> DatabaseError | None:
    if isinstance(cause, asyncpg.ClientConfigurationError):
        return DatabaseUnavailable("the database's certificate cannot be verified: set sslrootcert in the database URL")
    if isinstance(cause, asyncpg.TargetServerAttributeNotMatched):
        return DatabaseUnavailable("no database server that answers is what target_session_attrs requires")
    if isinstance(cause, asyncpg.InterfaceError) and "connection" in str(cause):
        return DatabaseUnavailable("the database closed the connection")
    if isinstance(cause, asyncpg.InternalClientError):
        # The driver raises this if a connection ends between the two messages of a statement.
        return DatabaseUnavailable("the database closed the connection")
    if isinstance(cause, ssl.SSLError):
        return DatabaseUnavailable(f"TLS with the database failed ({cause.reason})")
    if isinstance(cause, ConnectionError) and "rejected SSL" in str(cause):
        return DatabaseUnavailable("the database does not offer TLS, which sslmode in the database URL requires")
    return DatabaseUnavailable("the database cannot be reached") if isinstance(cause, OSError) else None


_REACHES_POOLER: Final = (
    "database_url reaches a pooler: set direct_database_url to the database behind it, or direct_shards for a shard"
    " after the first"
)


def _from_pooler(cause: asyncpg.PostgresError) -> DatabaseError | None:
    if cause.sqlstate == "08P01" and "unsupported startup parameter" in str(cause):
        return DatabaseUnavailable(_REACHES_POOLER)
    return None


def _from_cause(cause: BaseException) -> DatabaseError | None:
    if isinstance(cause, sqlite3.Error):
        return _from_sqlite(cause)
    if isinstance(cause, asyncpg.PostgresError) and cause.sqlstate:
        return _from_pooler(cause) or _from_sqlstate(cause.sqlstate)
    return _from_connecting(cause)


def translate(error: BaseException) -> DatabaseError | None:
    """Returns the error of this module for an error of a driver or of SQLAlchemy; None if there is none."""
    if isinstance(error, DatabaseError):
        return error
    for cause in _causes(error):
        found = _from_cause(cause)
        if found is not None:
            return found
    if isinstance(error, exc.TimeoutError):
        return DatabaseUnavailable("no database connection became free in time")
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return DatabaseUnavailable("the database closed the connection")
    return None


_DRIVERS_ERRORS: Final = (
    exc.SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    sqlite3.Error,
    OSError,
)


class translated:  # noqa: N801  a context manager; a generator would take four times as long to enter
    """Replaces an error of a driver by the error of this module."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, _DRIVERS_ERRORS):
            meaning = translate(error)
            if meaning is not None and meaning is not error:
                raise meaning from error
