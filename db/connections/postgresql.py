"""A connection to PostgreSQL that knows since when it waits for the server, so that a wait without end is noticed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any, Final, Protocol

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from db.connections.server import Server
from db.errors import CONNECTION_LOST

CLOSE_SECONDS: Final = 1.0
"""How long the end of a connection may take; then it is cut."""
CANCEL_SECONDS: Final = 2.0
"""How long the server may take to stop a statement that nobody waits for any more."""

_KEEPALIVE: Final = {
    "TCP_KEEPIDLE": 10,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 10_000,
}
"""In seconds, and the last in milliseconds: for how long what was sent may stay without an answer of the kernel's."""


def _keep_alive(connection: socket.socket | None) -> None:
    if connection is None or connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        # Not every system has all of them.
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Watch(Protocol):
    """Monitors connections that wait for the server."""

    def begin_waiting(self, connection: PostgresConnection) -> None: ...

    def end_waiting(self, connection: PostgresConnection, *, has_answered: bool) -> None: ...

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs what nobody waits for."""


class _Waiting:
    """While the server is asked. One for a connection, which is asked one thing at a time; entered for each statement,
    so it is no generator."""

    __slots__ = ("_connection",)

    def __init__(self, connection: PostgresConnection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        connection = self._connection
        if connection.watch is not None:
            connection.watch.begin_waiting(connection)

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        connection = self._connection
        if connection.watch is not None:
            # The driver raises errors of its own for a connection that has ended.
            has_answered = error is None or (
                isinstance(error, asyncpg.PostgresError) and not isinstance(error, asyncpg.PostgresConnectionError)
            )
            connection.watch.end_waiting(connection, has_answered=has_answered)


class _WatchedStatement(PreparedStatement):  # type: ignore[misc]
    __slots__ = ()

    async def fetch(self, *arguments: Any, **options: Any) -> Any:
        with self._connection.waiting:
            return await super().fetch(*arguments, **options)

    async def executemany(self, *arguments: Any, **options: Any) -> Any:
        with self._connection.waiting:
            return await super().executemany(*arguments, **options)


class PostgresConnection(asyncpg.Connection):  # type: ignore[misc]
    """Made by `Servers.connect`. What is asked of it ends with an error once the server was found to be silent."""

    def __init__(self, protocol: Any, transport: Any, *others: Any) -> None:
        super().__init__(protocol, transport, *others)
        self.watch: Watch | None = None
        self.server: Server | None = None
        self.is_lent = True
        """False while it lies in a pool: then it may be closed to make room for another."""
        self.is_kept = False
        """True for one that must be there when the server has no other left to give."""
        self.waiting = _Waiting(self)
        self.max_seconds: float | None = None
        """How long a statement may take, beyond what the server itself allows; None for any time."""
        _keep_alive(transport.get_extra_info("socket"))

    async def execute(self, *arguments: Any, **options: Any) -> Any:
        with self.waiting:
            return await super().execute(*arguments, **options)

    async def executemany(self, *arguments: Any, **options: Any) -> Any:
        with self.waiting:
            return await super().executemany(*arguments, **options)

    async def fetch(self, *arguments: Any, **options: Any) -> Any:
        with self.waiting:
            return await super().fetch(*arguments, **options)

    async def fetchrow(self, *arguments: Any, **options: Any) -> Any:
        with self.waiting:
            return await super().fetchrow(*arguments, **options)

    async def fetchval(self, *arguments: Any, **options: Any) -> Any:
        with self.waiting:
            return await super().fetchval(*arguments, **options)

    async def prepare(self, query: str, **options: Any) -> _WatchedStatement:
        with self.waiting:
            statement = await super().prepare(query, **options)
        return _WatchedStatement(self, query, statement._state)  # noqa: SLF001  the driver has no class to name for it

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  as asyncpg's
        """A server that does not answer must not keep a process from ending."""
        await super().close(timeout=CLOSE_SECONDS if timeout is None else timeout)

    async def free_memory(self) -> None:
        """Does nothing: pages of the database are in the server's memory."""

    def abandon(self) -> None:
        """Ends it without waiting, and at the server the statement that runs: the server would go on with it for as
        long as it takes."""
        if self.watch is None or self.is_closed():
            self.terminate()
        else:
            self.watch.keep(self._end())

    async def _end(self) -> None:
        try:
            # The driver cancels what runs, and waits for the server to say so.
            await self.close(timeout=CANCEL_SECONDS)
        except (*CONNECTION_LOST, asyncio.CancelledError):
            self.terminate()
