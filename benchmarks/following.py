"""What is measured of subscribers: their memory, their delay, and how many events a second reach them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import orjson

from benchmarks.crowd import Crowd, Gathering, Heard, Waiting
from benchmarks.paced_writer import order_of
from benchmarks.servers import KINDS, Server, ServerFailed, ServerKind, cpu_seconds
from db.database import Database, DatabaseOptions
from ledger.posting import Ledger

QUERY: Final = """subscription {
  balanceChanged { cursor balance transaction { id createdAt type amount balanceAfter description } }
}"""
PACE: Final = 500.0
"""Rows a second while the delay is measured."""
SETTLE_SECONDS: Final = 3.0
PATIENCE_SECONDS: Final = 120.0
WARM_SUBSCRIBERS: Final = 200

GATEWAY: Final = next(kind for kind in KINDS if kind.name == "gateway")
SOCKETS: Final = ServerKind(
    "sockets",
    lambda port, url: (sys.executable, "-m", "benchmarks.peers.sockets", str(port), url),
    lambda *_: None,
)


@dataclass(frozen=True, slots=True)
class Delays:
    rate: float
    """Rows a second, as they were posted."""
    events_ms: Sequence[float]
    """Of each event at its subscriber."""
    commits_ms: Sequence[float]
    """Of each row, until the writer itself knew that it was committed."""
    cores: float
    """That the gateway kept busy."""


def percentile(values: Sequence[float], percent: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


@dataclass(frozen=True, slots=True)
class Sent:
    """To all followers of one account."""

    rate: float
    """Events a second, from the first that arrives to the last."""
    cpu_us: float
    """Of the server, an event."""


def _own_bytes(server: Server) -> int:
    """Memory that is the process's alone: what it would give back by ending."""
    return int(server.process.memory_full_info().uss)


def _warm(server: Server, key: str) -> None:
    """Fills what is there once for all."""
    with Crowd(Gathering(server.port, QUERY, [key] * WARM_SUBSCRIBERS)):
        time.sleep(1)
    time.sleep(1)


def gathered(server: Server, keys: Sequence[str], stack: ExitStack) -> tuple[Crowd, float]:
    """A crowd, and the bytes that the server takes for each of it while it waits."""
    _warm(server, keys[0])
    before = _own_bytes(server)
    crowd = stack.enter_context(Crowd(Gathering(server.port, QUERY, keys)))
    time.sleep(SETTLE_SECONDS)
    return crowd, (_own_bytes(server) - before) / len(keys)


def delays(server: Server, crowd: Crowd, *, accounts: int, subscribers: int, seconds: float) -> Delays:
    posted: dict[str, Any] = {}

    def write() -> None:
        arguments = map(str, (server.filled.url, accounts, PACE, seconds))
        command = (sys.executable, "-m", "benchmarks.paced_writer", *arguments)
        posted.update(orjson.loads(subprocess.run(command, capture_output=True, check=True).stdout))

    events = int(PACE * seconds) * subscribers // accounts
    cpu, started_at = cpu_seconds(server.process), time.perf_counter()
    heard = _heard(server, crowd, Waiting(events, seconds + PATIENCE_SECONDS, delays=True), write)
    cores = (cpu_seconds(server.process) - cpu) / (time.perf_counter() - started_at)
    return Delays(posted["rows"] / posted["seconds"], heard.delays_ms, posted["commits_ms"], cores)


def _heard(server: Server, crowd: Crowd, waiting: Waiting, happen: Callable[[], None]) -> Heard:
    heard = crowd.hear(waiting, happen)
    if heard.events != waiting.events:
        msg = f"{server.kind.name}: {heard.events:,} events arrived of {waiting.events:,}"
        raise ServerFailed(msg)
    return heard


async def _post(url: str, rows: int) -> None:
    database = Database(DatabaseOptions(url))
    try:
        await Ledger(database).post(*(order_of(1, number) for number in range(rows)))
    finally:
        await database.close()


def _broadcast(port: int, messages: Sequence[str]) -> None:
    with urlopen(HttpRequest(f"http://127.0.0.1:{port}/broadcast", orjson.dumps(messages)), timeout=PATIENCE_SECONDS):
        pass


class Stage:
    """Followers of one account of the gateway, and as many sockets of the bare server."""

    def __init__(self, gateway: Server, sockets: Server, followers: int, stack: ExitStack) -> None:
        keys = [gateway.filled.account_keys[0]] * followers
        self._count = followers
        self._gateway, self._sockets = gateway, sockets
        self._followers = stack.enter_context(Crowd(Gathering(gateway.port, QUERY, keys)))
        self._listeners = stack.enter_context(Crowd(Gathering(sockets.port, QUERY, keys)))

    def turn(self, rows: int, times: int) -> tuple[Sent, Sent]:
        """By the gateway and by bare sockets: the events of so many rows that are posted at once, so many times."""
        url = self._gateway.filled.url
        ours, heard = self._sent(
            self._gateway, self._followers, [lambda: asyncio.run(_post(url, rows)) for _ in range(times)], rows
        )
        told = [partial(_broadcast, self._sockets.port, one.messages) for one in heard]
        bare, repeated = self._sent(self._sockets, self._listeners, told, rows)
        assert [one.messages for one in heard] == [one.messages for one in repeated], "the same bytes"
        return ours, bare

    def _sent(
        self, server: Server, crowd: Crowd, happenings: Sequence[Callable[[], None]], rows: int
    ) -> tuple[Sent, list[Heard]]:
        waiting = Waiting(rows * self._count, PATIENCE_SECONDS)
        cpu = cpu_seconds(server.process)
        heard = [_heard(server, crowd, waiting, happen) for happen in happenings]
        cpu = cpu_seconds(server.process) - cpu
        events = waiting.events * len(heard)
        return Sent(events / sum(one.seconds for one in heard), cpu / events * 1e6), heard
