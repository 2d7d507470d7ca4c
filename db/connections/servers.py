"""The PostgreSQL servers of a database URL: connecting to the right one, and noticing that one is silent.

A server that hangs, or whose host is lost, says nothing: no error comes, and the limits of the server itself run out
nowhere. A long statement says nothing either. They are told apart by asking the server over a new connection, while
anything waits:

- There is no answer for `silence_seconds`, on any connection: the server is silent. All its connections are ended, and
  new ones are refused at once until it answers again.
- It answers, and its side of a connection that waits has nothing to do: what was sent got lost on the way, as when a
  proxy or a firewall forgot the connection. That connection is ended, and those that lie idle.
- It answers that the statement runs: it may go on.

A pooler answers no statement while all of its connections are busy. So it is asked for a connection only, and the
server behind it for an answer.

Of a connection that was ended the server may know nothing, and keep its transaction and its locks: so its process is
ended there, too, as soon as the server answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar
from weakref import WeakSet

import asyncpg
import structlog

from db.connections.postgresql import PostgresConnection
from db.connections.server import Server, each_server
from db.errors import DatabaseUnavailable
from db.figures import Figures

PATIENCE_SECONDS: Final = 0.25
"""How long a statement waits before the server is asked whether it is still there."""
PROBE_SECONDS: Final = 1.0
"""How often a server that answers others is asked about a statement that waits."""
LOST_SECONDS: Final = 1.0
"""How long the server's side of a connection must have been idle, while ours waits, for it to be lost."""
TICK_SECONDS: Final = 0.25
_SLICES: Final = 8
_ROOM_TRIES: Final = 5
_ROOM_SECONDS: Final = 0.02
SLACK_SECONDS: Final = 5.0
"""Time that a statement may exceed the server's limit before its connection is ended."""

# A pooler that nobody named gives out numbers of its own for the server's processes: then they say nothing.
_LOST_BACKENDS: Final = """
SELECT asked.pid
  FROM unnest($1::integer[]) AS asked (pid) LEFT JOIN pg_stat_activity AS found ON found.pid = asked.pid
 WHERE pg_backend_pid() = $2
   AND (found.pid IS NULL
        OR found.state LIKE 'idle%' AND clock_timestamp() - found.state_change > make_interval(secs => $3))
"""

_TRY_NEXT: Final = (
    OSError,
    DatabaseUnavailable,
    asyncpg.TargetServerAttributeNotMatched,
    asyncpg.CannotConnectNowError,
)
"""Errors that one of several servers may raise and another may not."""

# A process that began after the connection was ended is another one with the same number. If one were ended while its
# commit waits for the synchronous standby, its rows would be shown, and a failover would lose them.
_END_BACKENDS: Final = """
SELECT count(pg_terminate_backend(found.pid))
  FROM unnest($1::integer[], $2::float8[]) AS ended (pid, seconds_ago) JOIN pg_stat_activity AS found USING (pid)
 WHERE pg_backend_pid() = $3 AND found.usename = current_user
   AND found.backend_start < clock_timestamp() - make_interval(secs => ended.seconds_ago)
   AND found.wait_event IS DISTINCT FROM 'SyncRep'
"""

log = structlog.get_logger()

Result = TypeVar("Result")


async def within(seconds: float, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of the work; raises TimeoutError. Time in which this process itself stood still counts as little:
    an answer that came meanwhile is taken."""
    task = asyncio.ensure_future(work)
    try:
        for _ in range(_SLICES):
            await asyncio.wait([task], timeout=seconds / _SLICES)
            if task.done():
                return task.result()
        raise TimeoutError
    except BaseException:
        task.cancel()
        # It may have come at the very moment that it was given up.
        task.add_done_callback(_discard)
        raise


def _discard(task: asyncio.Future[Any]) -> None:
    if not task.cancelled() and task.exception() is None and isinstance(task.result(), PostgresConnection):
        task.result().terminate()


class Servers:
    def __init__(
        self,
        arguments: Mapping[str, Any],
        silence_seconds: float,
        statement_seconds: float,
        figures: Figures,
        *,
        behind: Servers | None = None,
    ) -> None:
        """`arguments` of `asyncpg.connect`; several hosts are tried in their order, each for `silence_seconds`.
        `behind` are the servers to which these, which are poolers, lead."""
        self._behind = behind
        attributes = arguments.get("target_session_attrs", "any")
        self._servers = each_server(arguments)
        self._figures = figures
        # libpq's and asyncpg's meaning of it: any server, where none is a standby.
        self._attributes = ("standby", "any") if attributes == "prefer-standby" else (attributes,)
        self._silence_seconds = silence_seconds
        self._max_seconds = statement_seconds + SLACK_SECONDS
        self._connections: WeakSet[PostgresConnection] = WeakSet()
        self._waiting: dict[PostgresConnection, float] = {}
        self._watch_task: asyncio.Task[None] | None = None
        self._ends: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        return ",".join(server.name for server in self._servers)

    @property
    def is_reachable(self) -> bool:
        return not all(server.is_silent for server in self._servers)

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs the end of a connection, which nobody waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    def begin_waiting(self, connection: PostgresConnection) -> None:
        self._waiting[connection] = asyncio.get_running_loop().time()
        self._watch()

    def end_waiting(self, connection: PostgresConnection, *, has_answered: bool) -> None:
        self._waiting.pop(connection, None)
        if has_answered and connection.server is not None:
            connection.server.note_answer()

    async def connect(self, **options: Any) -> PostgresConnection:
        """Raises DatabaseUnavailable where no server answers, else what the last one that was tried raised."""
        for _ in range(_ROOM_TRIES):
            try:
                return await self._connect(options)
            except asyncpg.TooManyConnectionsError:
                if not self._make_room():
                    raise
            await asyncio.sleep(_ROOM_SECONDS)
        return await self._connect(options)

    async def connect_patiently(self, seconds: float, **options: Any) -> PostgresConnection:
        """Connects as `connect` does, but waits while the server has no free connection."""
        until = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                return await self.connect(**options)
            except asyncpg.TooManyConnectionsError:
                if asyncio.get_running_loop().time() > until:
                    raise
            await asyncio.sleep(_ROOM_SECONDS)

    async def ask(self) -> None:
        """Raises what `connect` does, or that the connection was lost, if no server answers a statement."""
        connection = await self.connect()
        try:
            await connection.execute("SELECT")
        finally:
            connection.terminate()

    def _make_room(self) -> bool:
        """Closes a connection that lies idle in another pool."""
        for connection in list(self._connections):
            if not connection.is_lent and not connection.is_kept and not connection.is_closed():
                connection.terminate()
                return True
        return False

    async def _connect(self, options: Mapping[str, Any]) -> PostgresConnection:
        failure: Exception = DatabaseUnavailable("the database does not answer")
        for attributes in self._attributes:
            for server in self._servers:
                if server.is_silent:
                    continue
                try:
                    return await self._connect_to(server, {**options, "target_session_attrs": attributes})
                except _TRY_NEXT as error:
                    failure = error
        raise failure

    async def _connect_to(self, server: Server, options: Mapping[str, Any]) -> PostgresConnection:
        began = asyncio.get_running_loop().time()
        try:
            connection = await self._opened(server, options)
        except TimeoutError as error:
            if server.answered_at < began:
                self._found_silent(server)
            raise DatabaseUnavailable("the database does not answer") from error
        connection.watch, connection.server = self, server
        connection.max_seconds = self._max_seconds
        self._connections.add(connection)
        return connection

    async def _opened(self, server: Server, options: Mapping[str, Any]) -> PostgresConnection:
        arguments = {**server.arguments, "connection_class": PostgresConnection, "timeout": None, **options}
        connection: PostgresConnection = await within(self._silence_seconds, asyncpg.connect(**arguments))
        server.note_answer()
        return connection

    def _watch(self) -> None:
        if self._watch_task is None or self._watch_task.done():
            self._watch_task = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        """While anything waits, or a server is silent."""
        while self._waiting or any(server.is_silent or server.ended for server in self._servers):
            await asyncio.sleep(TICK_SECONDS)
            self._end_overdue()
            await asyncio.gather(*(self._look_at(server) for server in self._servers if self._is_due(server)))

    def _end_overdue(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection, since in list(self._waiting.items()):
            if connection.max_seconds is not None and now - since > connection.max_seconds:
                log.warning("statement took too long: its connection is ended", seconds=round(now - since, 1))
                connection.terminate()

    def _is_due(self, server: Server) -> bool:
        if server.is_silent or server.ended:
            return True
        now = asyncio.get_running_loop().time()
        answers_others = server.answered_at > now - PATIENCE_SECONDS and server.asked_at > now - PROBE_SECONDS
        return not answers_others and any(self._suspects(server))

    def _suspects(self, server: Server) -> Iterator[tuple[PostgresConnection, float]]:
        """Connections that wait for so long that it may be in vain, and since when."""
        late = asyncio.get_running_loop().time() - PATIENCE_SECONDS
        return (
            (connection, since)
            for connection, since in self._waiting.items()
            if connection.server is server and since < late and not connection.is_closed()
        )

    async def _look_at(self, server: Server) -> None:
        server.forget_old()
        suspects = dict(self._suspects(server))
        began = server.asked_at = asyncio.get_running_loop().time()
        lost = await self._asked(server, suspects, began + self._silence_seconds)
        if lost is None:
            if server.answered_at < began:
                self._found_silent(server)
            return
        if server.is_silent:
            server.is_silent = False
            log.warning("the database answers again", server=server.name)
        self._end_lost(server, [one for one in lost if self._waiting.get(one) == suspects[one]])

    async def _asked(
        self, server: Server, suspects: Mapping[PostgresConnection, float], until: float
    ) -> Sequence[PostgresConnection] | None:
        """Returns the suspects that are lost; None if the server does not answer.

        If the host refuses the connection, the server may be about to start: it is asked again until the time is over.
        """
        while True:
            left = until - asyncio.get_running_loop().time()
            try:
                return await within(max(left, TICK_SECONDS), self._lost(server, suspects))
            except (asyncpg.PostgresError, asyncpg.InternalClientError):
                # It answers, if only that it has no connection to give.
                server.note_answer()
                return []
            except (OSError, asyncpg.InterfaceError, DatabaseUnavailable):
                if server.is_silent or left < TICK_SECONDS:
                    return None
                await asyncio.sleep(TICK_SECONDS)

    async def _lost(self, server: Server, suspects: Mapping[PostgresConnection, float]) -> Sequence[PostgresConnection]:
        probe = await asyncpg.connect(**{**server.arguments, "timeout": None, "target_session_attrs": "any"})
        try:
            if self._behind is not None:
                await self._behind.ask()
                return []
            by_pid = {connection.get_server_pid(): connection for connection in suspects}
            own = probe.get_server_pid()
            await self._end_backends(server, probe, own)
            return [by_pid[row[0]] for row in await probe.fetch(_LOST_BACKENDS, list(by_pid), own, LOST_SECONDS)]
        finally:
            probe.terminate()

    async def _end_backends(self, server: Server, probe: Any, own: int) -> None:
        now, ended = asyncio.get_running_loop().time(), dict(server.ended)
        if ended:
            await probe.fetch(_END_BACKENDS, list(ended), [now - at for at in ended.values()], own)
            server.ended = {pid: at for pid, at in server.ended.items() if pid not in ended}

    def _found_silent(self, server: Server) -> None:
        if not server.is_silent:
            server.is_silent = True
            ended = self._end(lambda one: one.server is server)
            log.error("the database does not answer: its connections are ended", server=server.name, connections=ended)
        self._watch()

    def _end_lost(self, server: Server, lost: Sequence[PostgresConnection]) -> None:
        if lost:
            # What lies idle went the same way, most probably; to connect anew costs little.
            ended = self._end(lambda one: one in lost or (one.server is server and not one.is_lent))
            log.error("connections to the database were lost", server=server.name, connections=ended)

    def _end(self, chosen: Callable[[PostgresConnection], bool]) -> int:
        ended = [one for one in self._connections if chosen(one) and not one.is_closed()]
        now = asyncio.get_running_loop().time()
        for connection in ended:
            if connection.server is not None:
                connection.server.ended[connection.get_server_pid()] = now
            connection.terminate()
        self._figures.connections_lost += len(ended)
        return len(ended)

    async def close(self) -> None:
        """Ends the connections that lie idle, all at once, and the watch. What is lent ends with its owner."""
        if self._watch_task is not None:
            self._watch_task.cancel()
            await asyncio.wait([self._watch_task])
        idle = [one for one in self._connections if not one.is_lent]
        await asyncio.gather(*(one.close() for one in idle), *self._ends, return_exceptions=True)
