"""1,000 subscribers who wait and leave: nothing of them stays behind.

`STREAM_IDLE_SECONDS=60` has them wait for a minute instead of 5 seconds; with `-s` it prints what was counted.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import psutil
import pytest
from aiohttp import web

from access.keys import Keys, KeyScope, NewKey
from gateway.app import build_app
from gateway.commands.options import settings_of
from gateway.protocol import Runner
from gateway.services import Services, build_services
from ledger.accounts import Accounts
from tests.gateway.streams.crowd import Transport
from tests.ledger.desk import OPERATOR, correction, posting

ROOT: Final = Path(__file__).parents[3]
IDLE_SECONDS: Final = float(os.environ.get("STREAM_IDLE_SECONDS", "5"))
SUBSCRIBERS: Final = 1_000
LEAVE_SECONDS: Final = 30
HEARTBEAT_SECONDS: Final = 2
FEW_OBJECTS: Final = SUBSCRIBERS // 2
"""Of the 112 that a subscriber has while it is there, less than one for every other."""
LITTLE_MEMORY_BYTES: Final = 8 * 1024 * SUBSCRIBERS

pytestmark = pytest.mark.alone


class Held(NamedTuple):
    """What the process has."""

    tasks: int
    files: int
    """Connections of all kinds among them."""
    objects: int
    resident_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.tasks} tasks, {self.files} open files, {self.objects:,} objects,"
            f" {self.resident_bytes / 2**20:.1f} MiB resident"
        )


def _held() -> Held:
    gc.collect()
    process = psutil.Process()
    return Held(len(asyncio.all_tasks()), process.num_fds(), len(gc.get_objects()), process.memory_info().rss)


async def _held_at_rest() -> Held:
    """The least of two seconds. The gateway's own work now and then, such as a look at its servers, is over in some
    moment of them; what a crowd leaves behind is there in each."""
    moments = []
    for _ in range(20):
        await asyncio.sleep(0.1)
        moments.append(_held())
    return min(moments)


@dataclass
class Room:
    """A gateway in this process, and the crowds that come to it."""

    services: Services
    port: int
    key: str

    async def visit(self, transport: Transport, idle_seconds: float) -> tuple[Held, Held]:
        """What is held while the crowd is there, and when it has left."""
        crowd = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.gateway.streams.idle_crowd",
            transport, str(self.port), self.key, str(SUBSCRIBERS),
            cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert crowd.stdin is not None
        assert crowd.stdout is not None
        try:
            assert await crowd.stdout.readline() == b"all are there\n"
            await asyncio.sleep(idle_seconds)
            assert self._subscribers(transport) == SUBSCRIBERS
            while_there = _held()
        finally:
            crowd.stdin.close()
        assert await crowd.wait() == 0
        async with asyncio.timeout(LEAVE_SECONDS):
            while True:
                if self._subscribers(transport) == 0:
                    break
                await asyncio.sleep(0.05)
        return while_there, await _held_at_rest()

    def _subscribers(self, transport: Transport) -> float | None:
        name = {Transport.WEBSOCKET: "websocket", Transport.EVENT_STREAM: "sse"}[transport]
        return self.services.metrics.registry.get_sample_value("billing_subscribers", {"transport": name})


@pytest.fixture
async def room(postgresql_url: str) -> AsyncIterator[Room]:
    services = build_services(settings_of({"database_url": postgresql_url, "heartbeat_seconds": HEARTBEAT_SECONDS}))
    account = await Accounts(services.database).create("Crowded")
    key = await Keys(services.database).create(NewKey(KeyScope.READ, "crowd", account.id))
    await services.ledger.post(posting(account.id, correction(5), writer=OPERATOR))
    runner = Runner(build_app(services), shutdown_timeout=5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Room(services, runner.addresses[0][1], key.secret)
    await runner.cleanup()


@pytest.mark.parametrize("transport", Transport)
async def test_nothing_is_left_of_a_crowd_that_waited(room: Room, transport: Transport) -> None:
    """Those before it filled what is kept for whoever comes: pools, and memory that is used again."""
    for _ in range(2):
        _, before = await room.visit(transport, idle_seconds=0)
    while_there, after = await room.visit(transport, IDLE_SECONDS)
    sys.stdout.write(f"\n{transport}: before {before}\n  {SUBSCRIBERS} there {while_there}\n  after {after}\n")
    assert while_there.tasks - before.tasks >= SUBSCRIBERS
    assert while_there.files - before.files >= SUBSCRIBERS
    assert after.tasks <= before.tasks
    # The pool may have opened further connections to the database meanwhile: keys are checked every few seconds.
    assert after.files - before.files < room.services.settings.pool_size
    assert after.objects - before.objects < FEW_OBJECTS
    assert after.resident_bytes - before.resident_bytes < LITTLE_MEMORY_BYTES
