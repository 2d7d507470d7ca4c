"""Subscribers in a process of their own: `python -m benchmarks.crowd`, told what to do by lines of JSON.

The first line says who subscribes to what (`Gathering`), and is answered when all are there. Then each line asks to
wait for a number of events, and is answered with what came of them (`Heard`).
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from subprocess import PIPE
from types import TracebackType
from typing import Final, Self

import orjson
import psutil
import uvloop

from tests.gateway.streams.crowd import OnEvent, Seat, Transport, gathered

_CREATED_AT: Final = b'"createdAt":"'
_TIME_BYTES: Final = len("2026-11-01T00:00:00.000000Z")


@dataclass(frozen=True, slots=True)
class Gathering:
    port: int
    query: str
    keys: Sequence[str]
    """Of each subscriber one."""


@dataclass(frozen=True, slots=True)
class Waiting:
    events: int
    seconds: float
    """At most."""
    delays: bool = False
    """Measured, and not only counted."""


@dataclass(frozen=True, slots=True)
class Heard:
    events: int
    seconds: float
    """From the first of them to the last."""
    delays_ms: Sequence[float] = ()
    """Of each event, from its row's `createdAt`: that is read before the commit, so the commit is part of it."""
    messages: Sequence[str] = ()
    """What the first subscriber got."""


@dataclass(slots=True)
class _Ears:
    """What all subscribers hear together."""

    wanted: int = 0
    delays: bool = False
    events: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    came: list[tuple[float, bytes]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def of(self, number: int) -> OnEvent:
        return self._keep if number == 0 else self._hear

    def _keep(self, message: bytes) -> None:
        self.messages.append(message.decode())
        self._hear(message)

    def _hear(self, message: bytes) -> None:
        self.events += 1
        if self.delays:
            at = message.find(_CREATED_AT) + len(_CREATED_AT)
            self.came.append((time.time(), message[at : at + _TIME_BYTES]))
        if self.events == 1:
            self.first_at = time.perf_counter()
        if self.events >= self.wanted:
            self.last_at = time.perf_counter()
            self.done.set()

    def forget(self) -> None:
        self.events, self.came, self.messages = 0, [], []
        self.done.clear()

    async def heard(self, waiting: Waiting) -> Heard:
        """Counted since the last time."""
        self.wanted, self.delays = waiting.events, waiting.delays
        if self.events < self.wanted:
            try:
                async with asyncio.timeout(waiting.seconds):
                    await self.done.wait()
            except TimeoutError:
                self.last_at = time.perf_counter()
        delays = [(at - datetime.fromisoformat(text.decode()).timestamp()) * 1000 for at, text in self.came]
        heard = Heard(self.events, self.last_at - self.first_at, delays, self.messages)
        self.forget()
        return heard


async def _main() -> None:
    reader = asyncio.StreamReader(limit=1 << 26)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    ears = _Ears()
    gathering = Gathering(**orjson.loads(await reader.readline()))
    seats = [Seat(key, gathering.query, {}) for key in gathering.keys]
    crowd = await gathered(Transport.WEBSOCKET, gathering.port, seats, ears.of)
    ears.forget()
    _say({"there": len(crowd)})
    while line := await reader.readline():
        # Told at once, so that what makes the events happen may begin.
        waiting = Waiting(**orjson.loads(line))
        ears.wanted, ears.delays = waiting.events, waiting.delays
        _say({"listening": True})
        _say(asdict(await ears.heard(waiting)))


def _say(answer: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
    sys.stdout.buffer.flush()


class CrowdFailed(Exception):
    """It ended before it answered."""


class Crowd:
    """That process, seen from another."""

    def __init__(self, gathering: Gathering) -> None:
        self.process = psutil.Popen((sys.executable, "-m", "benchmarks.crowd"), stdin=PIPE, stdout=PIPE)
        self._tell(asdict(gathering))
        assert self._answer() == {"there": len(gathering.keys)}

    def _tell(self, what: object) -> None:
        self.process.stdin.write(orjson.dumps(what) + b"\n")
        self.process.stdin.flush()

    def _answer(self) -> dict[str, object]:
        line = self.process.stdout.readline()
        if not line:
            raise CrowdFailed
        answer: dict[str, object] = orjson.loads(line)
        return answer

    def hear(self, waiting: Waiting, happen: Callable[[], None]) -> Heard:
        """What is heard of that which `happen` makes happen, while it does or afterwards."""
        self._tell(asdict(waiting))
        assert self._answer() == {"listening": True}
        happen()
        return Heard(**self._answer())  # type: ignore[arg-type]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=60)


if __name__ == "__main__":
    uvloop.run(_main())
