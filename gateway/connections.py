"""How many connections a process has and how long each may take, so that no client shuts the others out.

A connection has a time for each part of a request: its headers, its body, the pause until the next one, and reading the
answer. One task looks at all connections once a second, so that nothing is counted while requests are answered.
"""

from __future__ import annotations

import fcntl
import struct
import termios
from collections import Counter, deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

import structlog

from gateway.networks import Networks, is_within, parse_address
from gateway.settings import Settings

if TYPE_CHECKING:
    import asyncio


log = structlog.get_logger()

BODY_GRACE_SECONDS: Final = 5.0
REPORT_SECONDS: Final = 10.0
"""How often the log says that connections were closed, at most."""
MADE_ROOM: Final = 64
"""Connections that are looked for at once, when there is no room for another."""


class Dropped(StrEnum):
    """Why the server closed a connection."""

    HEADER = "header"
    BODY = "body"
    IDLE = "idle"
    WRITE = "write"
    ADDRESS = "address"
    FULL = "full"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    header_seconds: float
    body_seconds: float
    idle_seconds: float
    write_seconds: float
    min_bytes_per_second: int
    max_connections: int
    max_per_address: int
    trusted: Networks

    @classmethod
    def of(cls, settings: Settings) -> ConnectionLimits:
        return cls(
            settings.header_timeout_seconds,
            settings.body_timeout_seconds,
            settings.idle_timeout_seconds,
            settings.write_timeout_seconds,
            settings.min_bytes_per_second,
            settings.max_connections,
            settings.max_connections_per_address,
            settings.trusted_networks,
        )


class WritePace:
    """Whether the client reads what it is sent: what leaves the buffers here and in the kernel within each period."""

    __slots__ = ("_began", "_left", "_taken")

    def __init__(self) -> None:
        self._began: float | None = None
        self._left = self._taken = 0

    def is_too_slow(self, transport: asyncio.Transport, limits: ConnectionLimits, now: float) -> bool:
        left = transport.get_write_buffer_size()
        if not left:
            self._began = None
            return False
        left += _unacknowledged(transport)
        if self._began is None:
            self._began, self._left, self._taken = now, left, 0
            return False
        self._taken += max(0, self._left - left)
        self._left = left
        if now - self._began < limits.write_seconds:
            return False
        self._began, taken, self._taken = now, self._taken, 0
        return taken == 0 or taken < limits.min_bytes_per_second * limits.write_seconds


def _unacknowledged(transport: asyncio.Transport) -> int:
    """Bytes that the kernel keeps for the client; 0 where it doesn't tell."""
    connection = transport.get_extra_info("socket")
    try:
        told: bytes = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except (OSError, AttributeError, ValueError):
        return 0
    return int(struct.unpack("i", told)[0])


class Connection(Protocol):
    """A connection that is admitted or closed here; implemented in `gateway/protocol.py`."""

    since: float
    """When the part of a request that is awaited was first awaited."""

    @property
    def is_unused(self) -> bool: ...

    @property
    def is_waiting(self) -> bool:
        """Whether the connection has no request."""

    def drop(self, reason: Dropped) -> None: ...


Member = TypeVar("Member", bound=Connection)


class Connections(Generic[Member]):
    """Open connections of the process."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self.dropped: Counter[Dropped] = Counter()
        """Connections closed since the last report to the log."""
        self._open: dict[Member, str | None] = {}
        """Connections with their addresses: None if the address is a trusted proxy's."""
        self._of_address: Counter[str] = Counter()
        self._unused: deque[Member] = deque()
        """Connections that had no request when they were added, oldest first. Many are gone or have had one by now."""
        self._idle: list[Member] = []
        self._is_crowded = False
        """All connections had requests when they were last checked."""

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Member, peer: str) -> Dropped | None:
        """Adds the connection, or says why not."""
        address = None if is_within(parse_address(peer), self.limits.trusted) else peer
        if address is not None and self._of_address[address] >= self.limits.max_per_address:
            return Dropped.ADDRESS
        if len(self._open) >= self.limits.max_connections and not self._make_room():
            return Dropped.FULL
        self._open[connection] = address
        self._unused.append(connection)
        if address is not None:
            self._of_address[address] += 1
        return None

    def leave(self, connection: Member) -> None:
        address = self._open.pop(connection, None)
        if address is not None:
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

    def open(self) -> list[Member]:
        return list(self._open)

    def forget_used(self) -> None:
        """Connections that are gone or were used must not be kept by having been new once."""
        self._unused = deque(one for one in self._unused if one in self._open and one.is_unused)
        self._is_crowded = False

    def _make_room(self) -> bool:
        """Closes a connection without a request: one that never had any, else the one that has waited longest."""
        while self._unused:
            connection = self._unused.popleft()
            if connection in self._open and connection.is_unused:
                connection.drop(Dropped.REPLACED)
                return True
        if not self._idle and not self._is_crowded:
            waiting = (one for one in self._open if one.is_waiting)
            self._idle = sorted(waiting, key=lambda one: one.since, reverse=True)[-MADE_ROOM:]
        while self._idle:
            connection = self._idle.pop()
            if connection in self._open and connection.is_waiting:
                connection.drop(Dropped.REPLACED)
                return True
        self._is_crowded = True
        return False

    def report(self) -> None:
        """Tells the log of what was closed since the last time."""
        if self.dropped:
            log.warning(
                "connections closed", open=len(self._open), **{why.value: count for why, count in self.dropped.items()}
            )
            self.dropped.clear()
