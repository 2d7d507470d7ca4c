"""Read pool: lends the drivers' own connections for reading and, on PostgreSQL, for posting by single statements.

Lending a connection costs microseconds and no round trip. Readers change no settings of a connection, so nothing needs
to be reset. A connection that is in a transaction or has failed is closed instead of lent again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar

from db.errors import CONNECTION_LOST, DatabaseUnavailable


class Lendable(Protocol):
    """A connection of asyncpg or of SQLite."""

    async def execute(self, statement: str, /) -> Any: ...

    def is_in_transaction(self) -> bool: ...

    def is_closed(self) -> bool: ...

    def terminate(self) -> None: ...

    async def close(self, *, timeout: float) -> None: ...  # noqa: ASYNC109


Connection = TypeVar("Connection", bound=Lendable)


def _give_up(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_exception(DatabaseUnavailable("no database connection became free in time"))


class ReadPool(Generic[Connection]):
    def __init__(self, connect: Callable[[], Awaitable[Connection]], size: int, timeout_seconds: float) -> None:
        self._connect = connect
        self._timeout_seconds = timeout_seconds
        self._free = size
        self._waiting: deque[asyncio.Future[None]] = deque()
        """Callers that wait for a connection, in order. A connection handed to one of them is never counted as free."""
        self._idle: list[Connection] = []
        self._closed = False

    async def take(self) -> Connection:
        """Takes a connection. Raises DatabaseUnavailable if none becomes free in time, and errors of connecting."""
        if self._free:
            self._free -= 1
        else:
            await self._handed_over()
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        try:
            return await self._connect()
        except BaseException:
            self._hand_on()
            raise

    async def _handed_over(self) -> None:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        late = loop.call_later(self._timeout_seconds, _give_up, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:
                # The connection was handed over in the same moment in which the caller was cancelled.
                self._hand_on()
            raise
        finally:
            late.cancel()

    def _hand_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def give_back(self, connection: Connection, *, sound: bool) -> None:
        self._hand_on()
        if not sound or self._closed or connection.is_in_transaction():
            connection.terminate()
        elif not connection.is_closed():
            self._idle.append(connection)

    @contextlib.asynccontextmanager
    async def lent(self) -> AsyncIterator[Connection]:
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
