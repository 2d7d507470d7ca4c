"""Read replicas: which of them has what a client has seen.

A client has seen what was committed up to a time of the primary's clock, its position. A replica has what was committed
up to a time, too, and is read by the client only if that is not before the position. Both are worked out from looks at
the servers, ten a second while anybody reads:

- The primary tells its clock, then how long its log is. Whatever was committed by that time is within that length.
- A replica tells how much of the log it has replayed. So it has what was committed up to the newest look at the primary
  whose length it has reached. Later snapshots of it have more. Only after a crash a replica may have less than before:
  so it is asked on each new connection, too.
- An answer shows nothing that was committed after the answer was there. Then the primary's clock was at most as far as
  at the newest look, and the time since that look's beginning.

A failover begins a new timeline of the log. Positions of another timeline than the primary's are read from the primary,
and a replica of another timeline is not read: the same length may be another log.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Any, Final, NamedTuple

import asyncpg
import structlog
from sqlalchemy import BigInteger, Executable, Integer, text

from db.connections.engines import Check
from db.connections.postgresql import PostgresConnection
from db.connections.readers import Readers
from db.connections.servers import Servers
from db.connections.snapshots import Wanted
from db.errors import DatabaseError, DatabaseUnavailable, TransactionConflict, translated

LOOK_SECONDS: Final = 0.1
KEPT_LOOKS: Final = 600
IDLE_SECONDS: Final = 30.0
"""Time without readers after which nobody looks at the servers."""
FRESH_SECONDS: Final = 2.0
"""Age of the newest look at the primary after which an answer waits for another one."""
POSITION_SECONDS: Final = 0.5
"""How long an answer waits for it at most. Then its position is worked out from the newest look that there is."""
RETRY_SECONDS: Final = 1.0

_DRIFT: Final = 0.001
"""Maximum error of this machine's clock, for each second since a look."""

# PostgreSQL works out columns from left to right: the clock first.
_PRIMARY: Final = text(
    "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,"
    " (pg_current_wal_insert_lsn() - '0/0')::bigint,"
    " ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int,"
    " current_setting('wal_block_size')::int, pg_size_bytes(current_setting('wal_segment_size'))"
).columns(clock=BigInteger(), length=BigInteger(), timeline=Integer(), page=Integer(), segment=BigInteger())
# Only some roles see the first timeline. The others are noted at a checkpoint, or when pages are written.
_REPLICA: Final = text(
    "SELECT CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0')::bigint END,"
    " greatest((SELECT received_tli FROM pg_stat_wal_receiver), (SELECT timeline_id FROM pg_control_checkpoint()),"
    " (SELECT min_recovery_end_timeline FROM pg_control_recovery()))"
).columns(replayed=BigInteger(), timeline=Integer())

_PAGE_HEADER: Final = 24
_SEGMENT_HEADER: Final = 40

log = structlog.get_logger()


class SeenUntil(NamedTuple):
    """A client's position: what was committed up to then."""

    microseconds: int
    """Time of the primary's clock, since 1970."""
    timeline: int
    """Timeline of the primary's log; 0 for a client that has seen nothing."""
    shard: int | None = None
    """The shard whose primary that is; None without shards."""


class Look(NamedTuple):
    began: float
    """Time of this process's own clock, as `time.monotonic` tells it."""
    clock: int
    length: int
    timeline: int

    def may_be_before(self, other: Look) -> bool:
        """False after a failover, and if the primary's clock was set back: then times before say nothing of those
        after."""
        return self.timeline == other.timeline and self.length <= other.length and self.clock <= other.clock


def _end_of_records(inserted: int, page: int, segment: int) -> int:
    """Returns the end of the newest record. If that is a page's end, the primary tells the place behind the next page's
    header, which a replica reaches with the next record only."""
    header = _SEGMENT_HEADER if inserted % segment < page else _PAGE_HEADER
    return inserted - header if inserted % page == header else inserted


class _Replayed(NamedTuple):
    timeline: int
    length: int


class _Replica:
    def __init__(self, servers: Servers, readers: Callable[[Check], Readers[Any]], check: Check) -> None:
        self._check_server = check
        self.servers = servers
        self.readers = readers(self._check)
        self.replayed: _Replayed | None = None
        """None while the replica does not say."""
        self._furthest = _Replayed(0, 0)
        """The newest that it told."""
        self._is_known_as_away = False

    async def look(self) -> None:
        try:
            [(length, timeline)] = await _asked(self.readers, _REPLICA)
        except DatabaseError as error:
            self.leave_out(str(error))
        else:
            if length is None:
                self.leave_out("the server is not a standby")
                return
            self.replayed = self._furthest = _Replayed(timeline, length)
            if self._is_known_as_away:
                self._is_known_as_away = False
                log.warning("the replica is read again", server=self.servers.name)

    async def _check(self, connection: PostgresConnection) -> None:
        await self._check_server(connection)
        await self._check_length(connection)

    async def _check_length(self, connection: PostgresConnection) -> None:
        """Somebody may have chosen the replica for what it had replayed before it crashed."""
        furthest = self._furthest
        length, timeline = await connection.fetchrow(str(_REPLICA))
        if length is not None and timeline == furthest.timeline and length < furthest.length:
            raise DatabaseUnavailable("the replica has less than before")

    def leave_out(self, reason: str) -> None:
        self.replayed = None
        if not self._is_known_as_away:
            self._is_known_as_away = True
            log.warning("the replica is not read", server=self.servers.name, reason=reason)


async def _asked(readers: Readers[Any], statement: Executable) -> Sequence[Any]:
    try:
        with translated():
            return await readers.one(Wanted(statement, {}))
    except asyncpg.PostgresError as error:
        # A standby has no length of the log, and some managed services do not tell what was replayed.
        msg = f"the server does not tell the position of its log (SQLSTATE {error.sqlstate})"
        raise DatabaseUnavailable(msg) from error


class Replicas:
    def __init__(
        self,
        primary: Readers[Any],
        replicas: Sequence[tuple[Servers, Callable[[Check], Readers[Any]]]],
        max_lag_seconds: float,
        check: Check,
    ) -> None:
        """`check` raises DatabaseUnavailable for a connection to a replica of another primary."""
        self._primary = primary
        self._replicas = [_Replica(*replica, check) for replica in replicas]
        self._max_lag_microseconds = round(max_lag_seconds * 1_000_000)
        self._looks: deque[Look] = deque(maxlen=KEPT_LOOKS)
        self._read_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self.reads = {"primary": 0, "replica": 0}
        """Number of snapshots that were taken from each."""

    async def position(self) -> SeenUntil | None:
        """Returns what an answer that is there now can show at most; None if the primary has not told anything yet."""
        self._note_reader()
        if self._age() > FRESH_SECONDS:
            with contextlib.suppress(DatabaseError, TimeoutError):
                async with asyncio.timeout(POSITION_SECONDS):
                    await self._look_at_primary()
        return SeenUntil(self._now(), self._looks[-1].timeline) if self._looks else None

    def readers_for(self, seen: SeenUntil, since: float = -inf) -> Readers[Any] | None:
        """Returns the readers of a replica that has what the client has seen, and what was committed by the time
        `since` of this process's own clock; None if only the primary has."""
        self._note_reader()
        fitting = [replica for replica in self._replicas if self._has(replica, seen, since)]
        self.reads["replica" if fitting else "primary"] += 1
        return min(fitting, key=lambda replica: replica.readers.use.lent).readers if fitting else None

    def leave_out(self, readers: Readers[Any], error: Exception) -> None:
        """Reads no more from a replica that is unavailable, until it answers again. A read that the replay ended is no
        reason for that."""
        if not isinstance(error, DatabaseUnavailable) or isinstance(error, TransactionConflict):
            return
        for replica in self._replicas:
            if replica.readers is readers:
                replica.leave_out(str(error))

    def lags(self) -> dict[str, float | None]:
        """Returns the seconds by which each replica may be behind; None for one that is not read, and for all while
        nobody looks at the servers."""
        found: dict[str, float | None] = {}
        for replica in self._replicas:
            reached = self._reached(replica) if self._age() <= FRESH_SECONDS else None
            found[replica.servers.name] = None if reached is None else max(self._now() - reached.clock, 0) / 1_000_000
        return found

    def _age(self) -> float:
        return time.monotonic() - self._looks[-1].began if self._looks else inf

    def _now(self) -> int:
        """Returns the latest time that the primary's clock can show."""
        return self._looks[-1].clock + round(self._age() * (1 + _DRIFT) * 1_000_000)

    def _reached(self, replica: _Replica) -> Look | None:
        """Returns the newest look at the primary whose length the replica has replayed."""
        replayed = replica.replayed
        if replayed is None or not self._looks or replayed.timeline != self._looks[-1].timeline:
            return None
        number = bisect_right(self._looks, replayed.length, key=lambda look: look.length)
        return self._looks[number - 1] if number else None

    def _has(self, replica: _Replica, seen: SeenUntil, since: float) -> bool:
        reached = self._reached(replica)
        if reached is None or self._now() - reached.clock > self._max_lag_microseconds or reached.began < since:
            return False
        return seen.timeline == 0 or (seen.timeline == reached.timeline and seen.microseconds <= reached.clock)

    def _note_reader(self) -> None:
        self._read_at = time.monotonic()
        if not self._tasks or all(task.done() for task in self._tasks):
            loop = asyncio.get_running_loop()
            looks = (self._look_at_primary, *(replica.look for replica in self._replicas))
            self._tasks = [loop.create_task(self._look_on(look)) for look in looks]

    async def _look_on(self, look: Callable[[], Awaitable[None]]) -> None:
        while time.monotonic() - self._read_at < IDLE_SECONDS:
            try:
                await look()
            except DatabaseError:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await asyncio.sleep(LOOK_SECONDS)

    async def _look_at_primary(self) -> None:
        began = time.monotonic()
        [(clock, inserted, timeline, page, segment)] = await _asked(self._primary, _PRIMARY)
        look = Look(began, clock, _end_of_records(inserted, page, segment), timeline)
        if self._looks and began <= self._looks[-1].began:
            return
        if self._looks and not self._looks[-1].may_be_before(look):
            self._looks.clear()
        self._looks.append(look)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for replica in self._replicas:
            await replica.readers.close()
            await replica.servers.close()
