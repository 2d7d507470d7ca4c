"""Worker lock: one of several workers holds it and works. It is released if that worker dies.

The work is correct without the lock too, because each piece of work is claimed in the transaction that does it. The
lock only keeps other workers from looking for the same work. PostgreSQL: an advisory lock on its own connection.
SQLite: a lock on a file beside the database.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

from db.connections.postgresql import PostgresConnection
from db.errors import CONNECTION_LOST, translated

_KEY: Final = 7_245_310_906
_CHECK_SECONDS: Final = 10.0


class WorkerLock(Protocol):
    async def acquire(self) -> bool:
        """Tries to acquire the lock without waiting. Returns whether it is held. Raises DatabaseUnavailable."""

    async def is_held(self) -> bool:
        """Returns whether the lock is still held: a lost connection loses the lock too."""

    async def release(self) -> None: ...


class FileLock:
    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-worker")
        self._descriptor: int | None = None

    async def acquire(self) -> bool:
        if self._descriptor is None:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            self._descriptor = descriptor
        return True

    async def is_held(self) -> bool:
        return self._descriptor is not None

    async def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class AdvisoryLock:
    def __init__(self, connect: Callable[[], Awaitable[PostgresConnection]]) -> None:
        self._connect = connect
        self._connection: PostgresConnection | None = None

    async def acquire(self) -> bool:
        if await self.is_held():
            return True
        with translated():
            connection = await self._connect()
            try:
                if await connection.fetchval("SELECT pg_try_advisory_lock($1)", _KEY):
                    self._connection = connection
            finally:
                if self._connection is None:
                    connection.terminate()
        return self._connection is not None

    async def is_held(self) -> bool:
        if self._connection is None:
            return False
        try:
            await self._connection.execute("SELECT", timeout=_CHECK_SECONDS)
        except CONNECTION_LOST:
            await self.release()
            return False
        return True

    async def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*CONNECTION_LOST):
                await connection.close(timeout=1)
