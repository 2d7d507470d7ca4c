"""The sockets and event streams that this process serves: none outlives its key, and all end when the process does."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

import structlog
from aiohttp import web

from access.keys import Principal, shard_of_key, valid_keys
from db.database import Database
from db.errors import DatabaseError
from db.moved_accounts import LOOK_SECONDS, MovedAccounts
from gateway.errors import RequestError
from gateway.services import Services

log = structlog.get_logger()

KEYS_SECONDS: Final = 2.0
"""How often the keys of all streams are looked at."""
SPREAD: Final = 0.7
"""The share of the time to stop over which streams are ended; the rest is for the last to say goodbye."""
ENDED_A_SECOND: Final = 100
"""Few streams end at once, many so slowly that their clients do not all come back in the same moment."""


class Ending(StrEnum):
    """Why a stream is ended by others than itself."""

    KEY = "the key was revoked or has expired"
    STOPPING = "the process stops"
    LEFT = "left"


class Stream(Protocol):
    @property
    def principal(self) -> Principal | None:
        """None as long as it is not known who is there."""

    def end(self, ending: Ending) -> None:
        """Returns at once; the stream leaves a little later."""


class LiveStreams:
    def __init__(self) -> None:
        self._streams: set[Stream] = set()
        self._operations: Counter[int] = Counter()
        """How many each key runs, by its id."""
        self._stopping = False
        self._last_left = asyncio.Event()

    def enter(self, stream: Stream) -> None:
        """Raises RequestError while the process stops."""
        if self._stopping:
            raise RequestError("UNAVAILABLE", "the process stops: connect again")
        self._streams.add(stream)

    @contextmanager
    def operation(self, principal: Principal, most: int) -> Iterator[None]:
        """Raises RequestError if the key runs as many operations as it may."""
        key_id = principal.key_id
        if self._operations[key_id] >= most:
            raise RequestError("RATE_LIMITED", f"the API key has {most} open streams, which is the maximum")
        self._operations[key_id] += 1
        try:
            yield
        finally:
            self._operations[key_id] -= 1
            if not self._operations[key_id]:
                del self._operations[key_id]

    def leave(self, stream: Stream) -> None:
        self._streams.discard(stream)
        if not self._streams:
            self._last_left.set()

    async def end_with_their_keys(self, services: Services) -> None:
        """Raises DatabaseError; by then those are ended whose end was known before."""
        of_keys: dict[int, list[Stream]] = {}
        for stream in self._streams:
            if stream.principal is not None:
                of_keys.setdefault(stream.principal.key_id, []).append(stream)
        now = services.clock()
        gone = {key_id for key_id, streams in of_keys.items() if _has_expired(streams[0].principal, now)}
        for key_id in gone:
            _end(of_keys.pop(key_id))
        failure: DatabaseError | None = None
        by_shard: dict[Database, list[Principal]] = {}
        for streams in of_keys.values():
            if (principal := streams[0].principal) is not None:
                by_shard.setdefault(shard_of_key(services.database, principal), []).append(principal)
        for principals in by_shard.values():
            try:
                valid = await valid_keys(services.database, principals, now)
            except DatabaseError as error:
                # Another shard may answer.
                failure = error
                continue
            for key_id in {principal.key_id for principal in principals} - valid:
                _end(of_keys[key_id])
        if failure is not None:
            raise failure

    async def stop(self, within_seconds: float) -> None:
        """Ends all, in an order and at moments of chance, and waits for them no longer than that."""
        self._stopping = True
        if not self._streams:
            return
        spread = min(SPREAD * within_seconds, len(self._streams) / ENDED_A_SECOND)
        log.info("ending streams", streams=len(self._streams), over_seconds=round(spread, 1))
        self._last_left.clear()
        loop = asyncio.get_running_loop()
        for stream in self._streams:
            loop.call_later(random.uniform(0, spread), stream.end, Ending.STOPPING)  # noqa: S311  no secret
        try:
            async with asyncio.timeout(within_seconds):
                await self._last_left.wait()
        except TimeoutError:
            log.warning("streams did not end in time", streams=len(self._streams))


LIVE: Final = web.AppKey("live", LiveStreams)


def _has_expired(principal: Principal | None, now: datetime) -> bool:
    return principal is not None and principal.expires_at is not None and principal.expires_at <= now


def _end(streams: list[Stream]) -> None:
    for stream in streams:
        stream.end(Ending.KEY)


async def watch_moves(services: Services) -> None:
    """Ends the streams of accounts that were moved to another shard. Their clients go on there, from their cursors."""
    place = services.database.place
    if place is not None:
        await asyncio.gather(*(_watch_moves(shard.database, place.shards.moved) for shard in services.shards))


async def _watch_moves(database: Database, moved: MovedAccounts) -> None:
    """Looks at one shard: others may be away."""
    assert database.place is not None
    number = database.place.number
    while True:
        try:
            await moved.look(number, time.monotonic())
            database.changes.end_of(lambda account_id: moved.shard_of(account_id) != number)
        except DatabaseError as error:
            log.warning("moved accounts were not looked at", shard=number, reason=str(error))
        await asyncio.sleep(LOOK_SECONDS)


async def watch_keys(live: LiveStreams, services: Services) -> None:
    while True:
        await asyncio.sleep(KEYS_SECONDS)
        try:
            await live.end_with_their_keys(services)
        except DatabaseError as error:
            # The next round looks again.
            log.warning("the keys of open streams could not be checked", reason=str(error))
