"""Read pool: lends the drivers' own connections for reading and, on PostgreSQL, for posting by single statements.

Lending a connection costs microseconds and no round trip. Readers change no settings of a connection, so nothing needs
to be reset. A connection that is in a transaction or has failed is closed instead of lent again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import Any, Final, Generic, Protocol, TypeVar

from asyncpg import TooManyConnectionsError

from db.errors import CONNECTION_LOST, DatabaseUnavailable
from db.figures import PoolUse


class Lendable(Protocol):
    """PostgreSQL's connection, or one of SQLite."""

    is_lent: bool

    async def execute(self, statement: str, /) -> Any: ...

    def is_in_transaction(self) -> bool: ...

    def is_closed(self) -> bool: ...

    def terminate(self) -> None: ...

    def abandon(self) -> None:
        """Ends it without waiting, and what it still does."""

    async def free_memory(self) -> None:
        """Frees the memory that the connection keeps for its next statements."""

    async def close(self, *, timeout: float) -> None: ...  # noqa: ASYNC109


Connection = TypeVar("Connection", bound=Lendable)

REGROW_SECONDS: Final = 1.0
"""After which time a server that had no connection left to give is asked for one again."""
_RETRY_SECONDS: Final = 0.05
UNUSED_SECONDS: Final = 10.0
"""An idle connection keeps its memory for this time."""


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
        self._idle: list[tuple[Connection, float]] = []
        """Connections and the times since which they are idle. The one that was given back last is lent next."""
        self._lent = 0
        self._waits = 0
        self._waited_seconds = 0.0
        self._closed = False
        self._regrowing: set[asyncio.TimerHandle] = set()

    @property
    def use(self) -> PoolUse:
        waiting = sum(not turn.done() for turn in self._waiting)
        return PoolUse(self._lent, len(self._idle), waiting, self._waits, self._waited_seconds)

    async def take(self) -> Connection:
        """Takes a connection. Raises DatabaseUnavailable if none becomes free in time, and errors of connecting."""
        until = asyncio.get_running_loop().time() + self._timeout_seconds
        if self._free:
            self._free -= 1
        else:
            await self._handed_over(until)
        while True:
            connection = await self._idle_or_new()
            if connection is not None:
                connection.is_lent = True
                self._lent += 1
                return connection
            await self._wait_for_another(until)

    async def _idle_or_new(self) -> Connection | None:
        """None where the server has no connection left to give."""
        while self._idle:
            connection, _ = self._idle.pop()
            if not connection.is_closed():
                return connection
        try:
            return await self._connect()
        except TooManyConnectionsError:
            return None
        except BaseException:
            self._hand_on()
            raise

    async def _wait_for_another(self, until: float) -> None:
        """Waits for a turn on the connections that the pool has, which is smaller for a while; if it has none, until
        it is worth to ask for one."""
        loop = asyncio.get_running_loop()
        if self._lent:
            timer = loop.call_later(REGROW_SECONDS, self._regrow)
            self._regrowing = {one for one in self._regrowing if one.when() > loop.time()} | {timer}
            await self._handed_over(until, first=True)
            return
        try:
            if loop.time() > until:
                raise DatabaseUnavailable("the database server has no connection left to give")
            await asyncio.sleep(_RETRY_SECONDS)
        except BaseException:
            self._hand_on()
            raise

    def _regrow(self) -> None:
        if not self._closed:
            self._hand_on()

    async def _handed_over(self, until: float, *, first: bool = False) -> None:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        if first:
            self._waiting.appendleft(turn)
        else:
            self._waiting.append(turn)
        began = loop.time()
        late = loop.call_at(until, _give_up, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:
                # The connection was handed over in the same moment in which the caller was cancelled.
                self._hand_on()
            raise
        finally:
            late.cancel()
            self._waits += 1
            self._waited_seconds += loop.time() - began

    def _hand_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def give_back(self, connection: Connection, *, sound: bool) -> None:
        self._lent -= 1
        connection.is_lent = False
        if not sound:
            connection.abandon()
        elif self._closed or connection.is_in_transaction():
            connection.terminate()
        elif not connection.is_closed():
            self._idle.append((connection, monotonic()))
        self._hand_on()

    async def free_memory(self) -> None:
        """Frees the memory of connections that nobody needed for a while."""
        until = monotonic() - UNUSED_SECONDS
        for connection in [connection for connection, since in self._idle if since <= until]:
            if not connection.is_closed():
                await connection.free_memory()

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
        for timer in self._regrowing:
            timer.cancel()
        idle, self._idle = self._idle, []
        await asyncio.gather(*(_close(connection) for connection, _ in idle))


async def _close(connection: Lendable) -> None:
    with contextlib.suppress(*CONNECTION_LOST):
        await connection.close(timeout=1)
