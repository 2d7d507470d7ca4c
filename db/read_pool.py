"""PostgreSQL connections for reading, and for posting by single statements, lent by asyncpg itself: a loan costs
microseconds, and no round trip.

Nothing of a reader outlives its loan, as it sets nothing: so there is nothing to reset. A connection that was in a
transaction, or that failed, is closed rather than lent again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg

from db.errors import CONNECTION_LOST, DatabaseUnavailable


class ReadPool:
    def __init__(self, arguments: Mapping[str, Any], size: int, timeout_seconds: float) -> None:
        self._arguments = arguments
        self._timeout_seconds = timeout_seconds
        self._free = asyncio.Semaphore(size)
        self._idle: list[asyncpg.Connection[Any]] = []
        self._closed = False

    async def take(self) -> asyncpg.Connection[Any]:
        """Raises DatabaseUnavailable when none becomes free in time, and what connecting raises."""
        if self._free.locked():
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    await self._free.acquire()
            except TimeoutError as error:
                raise DatabaseUnavailable("no database connection became free in time") from error
        else:
            await self._free.acquire()
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        try:
            return await asyncpg.connect(**self._arguments)
        except BaseException:
            self._free.release()
            raise

    def give_back(self, connection: asyncpg.Connection[Any], *, sound: bool) -> None:
        self._free.release()
        if not sound or self._closed or connection.is_in_transaction():
            connection.terminate()
        elif not connection.is_closed():
            self._idle.append(connection)

    @contextlib.asynccontextmanager
    async def lent(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        connection = await self.take()
        sound = False
        try:
            yield connection
            sound = True
        finally:
            self.give_back(connection, sound=sound)

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            connection = self._idle.pop()
            with contextlib.suppress(*CONNECTION_LOST):
                await connection.close(timeout=1)
