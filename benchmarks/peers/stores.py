"""Where peers read from: a pool of plain driver connections, PostgreSQL's or SQLite's, with one way to ask both.

Statements number their parameters `$1`, `$2`, …
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiosqlite
import asyncpg
from sqlalchemy import make_url

POOL_SIZE: Final = 10
"""As many connections as the gateway has by default."""

Fetch = Callable[..., Awaitable[Sequence[Any]]]
"""A statement and its parameters to rows, which are read by index or name."""


async def _nothing_to_reset(_connection: Any) -> None:
    """A peer leaves nothing behind on a connection, so the round trip of a reset is saved."""


class PostgresStore:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @classmethod
    async def open(cls, url: str) -> PostgresStore:
        pool = await asyncpg.create_pool(
            url,
            min_size=POOL_SIZE,
            max_size=POOL_SIZE,
            reset=_nothing_to_reset,
            server_settings={"jit": "off", "timezone": "UTC"},
        )
        return cls(pool)

    async def fetch(self, statement: str, *arguments: object) -> Sequence[Any]:
        """The rows of one statement, which is a snapshot of its own."""
        async with self._pool.acquire() as connection:
            rows: Sequence[Any] = await connection.fetch(statement, *arguments)
            return rows

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Fetch]:
        async with self._pool.acquire() as connection:
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                yield connection.fetch
            finally:
                await connection.execute("COMMIT")

    async def close(self) -> None:
        await self._pool.close()


class SqliteStore:
    def __init__(self, connections: Sequence[aiosqlite.Connection]) -> None:
        self._connections = connections
        self._free: asyncio.LifoQueue[aiosqlite.Connection] = asyncio.LifoQueue()
        for connection in connections:
            self._free.put_nowait(connection)

    @classmethod
    async def open(cls, path: str) -> SqliteStore:
        connections = [await aiosqlite.connect(path, isolation_level=None) for _ in range(POOL_SIZE)]
        for connection in connections:
            connection.row_factory = aiosqlite.Row
            await connection.execute("PRAGMA cache_size = -32768")
        return cls(connections)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Fetch]:
        connection = await self._free.get()

        async def fetch(statement: str, *arguments: object) -> Sequence[Any]:
            return list(await connection.execute_fetchall(statement.replace("$", "?"), arguments))

        try:
            yield fetch
        finally:
            self._free.put_nowait(connection)

    async def fetch(self, statement: str, *arguments: object) -> Sequence[Any]:
        async with self._connection() as fetch:
            return await fetch(statement, *arguments)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Fetch]:
        async with self._connection() as fetch:
            await fetch("BEGIN")
            try:
                yield fetch
            finally:
                await fetch("COMMIT")

    async def close(self) -> None:
        for connection in self._connections:
            await connection.close()


Store = PostgresStore | SqliteStore


async def open_store(url: str) -> Store:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return await SqliteStore.open(parsed.database or "")
    return await PostgresStore.open(url)
