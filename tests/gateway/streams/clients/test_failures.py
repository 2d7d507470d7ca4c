"""The real clients see every row once, in the order of `seq`, whatever dies meanwhile.

`STREAM_KILLS=20` kills gateways that often instead of twice; with `-s` it prints what was counted.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import pytest
from asyncpg import PostgresError

from db.database import Database, DatabaseOptions
from db.schema_version import migrate
from tests import postgres
from tests.chromium import launched
from tests.gateway.streams.clients.ledger_accounts import Accountant, FollowedAccount
from tests.gateway.streams.clients.partners import PROGRAMS, Page, Partner
from tests.gateway.streams.clients.processes import GatewayProcess, PosterProcess
from tests.postgres import Postgres

KILLS: Final = int(os.environ.get("STREAM_KILLS", "2"))
WRITERS: Final = 8
ROWS_A_SECOND: Final = 6
"""Of each writer."""
QUIET_SECONDS: Final = 1
"""In which a row that comes twice would come."""


@dataclass
class Scene:
    """Gateways over one database, partners at all of them, and a poster beside."""

    accountant: Accountant
    accounts: list[FollowedAccount]
    gateways: list[GatewayProcess]
    partners: list[tuple[Partner, FollowedAccount]]
    poster: PosterProcess
    random: Random
    kills: int = 0
    poster_deaths: int = 0
    connections_ended: int = 0
    restarts: int = 0
    """Of the database."""

    def __post_init__(self) -> None:
        self.is_over = False
        """Who makes trouble again and again leaves off then."""
        self.stable = asyncio.Lock()
        """Held while a gateway starts, which needs a database, and while that is away."""

    async def kill_gateway(self, gateway: GatewayProcess, times: int) -> None:
        for _ in range(times):
            await asyncio.sleep(self.random.uniform(0.2, 2.0))
            await gateway.kill()
            self.kills += 1
            await asyncio.sleep(self.random.uniform(0, 0.5))
            async with self.stable:
                await gateway.start()

    async def kill_poster(self) -> None:
        """Each time between a commit and its notification."""
        while not self.is_over:
            await self.poster.start(dies_after=self.random.randint(20, 200))
            await self.poster.died()
            self.poster_deaths += 1

    async def post_the_rest(self) -> None:
        await self.poster.start()
        await asyncio.sleep(1)
        await self.poster.stop()

    async def compare(self) -> str:
        """Waits for the last rows to arrive; what was counted."""
        posted = {one.id: await self.accountant.rows_after_opening(one.id) for one in self.accounts}
        for partner, account in self.partners:
            await partner.has_received(posted[account.id][-1])
        await asyncio.sleep(QUIET_SECONDS)
        lines = [str(self)]
        for partner, account in self.partners:
            received = await partner.received()
            assert received == posted[account.id], partner.name
            lines.append(
                f"  {partner.name}: {len(posted[account.id])} rows posted = {len(received)} received, in order"
            )
        assert self.poster.acknowledged <= {row.id for rows in posted.values() for row in rows}
        return "\n".join(lines)

    def __str__(self) -> str:
        return (
            f"{self.kills} gateways killed, {self.poster_deaths} posters killed between commit and notification,"
            f" {self.connections_ended} listening connections ended, {self.restarts} restarts of the database"
        )


@asynccontextmanager
async def _scene(url: str, folder: Path, gateways: int) -> AsyncIterator[Scene]:
    accountant = Accountant(url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(accountant.database.close)
        accounts = [await accountant.open_account() for _ in range(2)]
        started = [GatewayProcess(url, folder) for _ in range(gateways)]
        for gateway in started:
            stack.push_async_callback(gateway.kill)
        await asyncio.gather(*(gateway.start() for gateway in started))
        partners: list[tuple[Partner, FollowedAccount]] = []
        for number, (name, kind) in enumerate(PROGRAMS.items()):
            account = accounts[number // 2 % 2]
            program = kind(name, started[number % gateways].address, account.key.secret, folder)
            stack.push_async_callback(program.kill)
            partners.append((program, account))
        page = Page(await stack.enter_async_context(launched()), started[0].address, accounts[0].key.secret)
        partners.append((page, accounts[0]))
        await asyncio.gather(*(partner.start() for partner, _ in partners))
        await asyncio.gather(*(partner.began() for partner, _ in partners))
        poster = PosterProcess(
            url, "poster", [account.id for account in accounts], writers=WRITERS, rows_a_second=ROWS_A_SECOND
        )
        stack.push_async_callback(poster.kill)
        yield Scene(accountant, accounts, started, partners, poster, Random())


async def _play(scene: Scene, *troubles: Coroutine[None, None, None]) -> None:
    """Until the gateways were killed as often as they should; then the rest is posted, and all is compared."""
    shares = [len(range(number, KILLS, len(scene.gateways))) for number in range(len(scene.gateways))]

    async def kill_gateways() -> None:
        async with asyncio.TaskGroup() as group:
            for gateway, share in zip(scene.gateways, shares, strict=True):
                group.create_task(scene.kill_gateway(gateway, share))
        scene.is_over = True

    async with asyncio.TaskGroup() as group:
        for trouble in (kill_gateways(), scene.kill_poster(), *troubles):
            group.create_task(trouble)
    await scene.post_the_rest()
    sys.stdout.write(f"\n{await scene.compare()}\n")


async def test_on_sqlite_written_by_another_process(sqlite_file_url: str, tmp_path: Path) -> None:
    async with _scene(sqlite_file_url, tmp_path, gateways=1) as scene:
        await _play(scene)


@pytest.fixture
async def own_server() -> AsyncIterator[Postgres]:
    """A PostgreSQL that this test alone stops."""
    with postgres.started(postgres.QUICK) as server:
        yield server


async def _end_listening_connections(scene: Scene, server: Postgres, name: str) -> None:
    while not scene.is_over:
        await asyncio.sleep(scene.random.uniform(0.2, 1.5))
        with suppress(OSError, PostgresError):  # at times the server is away
            scene.connections_ended += await server.fetch_value(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                f" WHERE datname = '{name}' AND query LIKE 'LISTEN%'"
            )


async def _restart_database(scene: Scene, server: Postgres) -> None:
    while not scene.is_over:
        await asyncio.sleep(scene.random.uniform(4, 8))
        async with scene.stable:
            await asyncio.to_thread(server.stop)
            await asyncio.sleep(scene.random.uniform(0, 1))
            await asyncio.to_thread(server.start)
        scene.restarts += 1


async def test_on_postgresql_with_two_gateways(own_server: Postgres, tmp_path: Path) -> None:
    name = await own_server.new_database()
    database = Database(DatabaseOptions(own_server.url(name)))
    await migrate(database)
    await database.close()
    async with _scene(own_server.url(name), tmp_path, gateways=2) as scene:
        await _play(
            scene,
            _end_listening_connections(scene, own_server, name),
            _restart_database(scene, own_server),
        )
