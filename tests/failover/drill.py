"""The drill: faults one after the other under load, then the history is checked."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import click
from aiohttp import ClientSession, TCPConnector

from access.keys import Keys, KeyScope, NewKey
from db.database import Database, DatabaseOptions
from ledger.accounts import Accounts
from ledger.ids import account_id_text
from tests.failover.checker import faults
from tests.failover.clients import (
    IMPATIENT_SECONDS,
    PATIENT_SECONDS,
    Client,
    EventFollower,
    Follower,
    SocketFollower,
)
from tests.failover.cluster import Cluster, comes
from tests.failover.gateways import Gateways
from tests.failover.history import Acknowledged, History, Read, Refused, Row, Streamed, Window
from tests.failover.hosts import Host, lay_network

ACCOUNTS: Final = 6
CALM_SECONDS: Final = 5.0
"""Load before and after each fault."""
_SHARE_OF_OPERATIONS: Final = 0.8
"""Share of the drill's time after which clients stop."""


@dataclass(frozen=True)
class Plan:
    kills: int
    partitions: int
    read_operations: int
    """Number of reads and writes after which the drill may end."""
    seed: int
    seconds: float
    """Limit of the whole drill."""

    def faults(self) -> list[str]:
        kills = [("kill the machine", "kill PostgreSQL")[number % 2] for number in range(self.kills)]
        cuts = [("cut from the others", "cut off")[number % 2] for number in range(self.partitions)]
        mixed = kills + cuts
        Random(self.seed).shuffle(mixed)
        return mixed


def say(text: str) -> None:
    click.echo(text)


@dataclass
class Drill:
    plan: Plan
    cluster: Cluster
    gateways: Gateways
    session: ClientSession
    history: History = field(default_factory=History)
    clients: list[Client] = field(default_factory=list)
    followers: list[Follower] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    _done: int = 0

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._is_over = asyncio.Event()
        self._is_enough = asyncio.Event()
        """As many operations as the plan asks for are done."""
        self._count_done(0)

    async def open_accounts(self) -> None:
        database = Database(DatabaseOptions(self.cluster.primary_url))
        try:
            for number in range(ACCOUNTS):
                row = await Accounts(database).create(f"Account {number}")
                key = await Keys(database).create(NewKey(KeyScope.SERVICE, "drill", account_ids=(row.id,)))
                self._add_callers(number, account_id_text(row.id), key.secret)
        finally:
            await database.close()

    def _add_callers(self, number: int, account: str, key: str) -> None:
        def given(name: str) -> tuple[object, ...]:
            chances = Random(f"{self.plan.seed} {name}")
            return f"{name}{number}", account, key, self.gateways.urls, self.session, chances

        seconds = (PATIENT_SECONDS, IMPATIENT_SECONDS)[number % 2]
        self.clients.append(Client(*given("client"), history=self.history, seconds=seconds, count=self._count_done))
        self.followers.append(EventFollower(*given("events"), history=self.history))
        self.followers.append(SocketFollower(*given("socket"), history=self.history))

    def _count_done(self, number: int) -> None:
        self._done += number
        if self._done >= self.plan.read_operations:
            self._is_enough.set()

    async def run(self) -> None:
        for follower in self.followers:
            await follower.begin()
        pause_seconds = 0.0 if self.plan.read_operations else 0.15
        async with _running([follower.live() for follower in self.followers]):
            works = [client.live(self._is_over, pause_seconds) for client in self.clients]
            async with _running(works) as living:
                await self._make_faults()
                await self._wait_for_operations()
                self._is_over.set()
                await asyncio.gather(*living)
            rows = await self._rows()
            await self._wait_for_followers(rows)
        self.history.events += [*self.windows, *rows]

    async def _wait_for_operations(self) -> None:
        """Until as many were done as asked for, or the time for them is over."""
        left = self._began + self.plan.seconds * _SHARE_OF_OPERATIONS - time.monotonic()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_enough.wait(), max(left, 0))

    async def _make_faults(self) -> None:
        await asyncio.sleep(CALM_SECONDS)
        for number, fault in enumerate(self.plan.faults(), 1):
            await self._one(number, fault)

    async def _one(self, number: int, fault: str) -> None:
        old = await self.cluster.primary()
        others = [host for host in self.cluster.hosts if host is not old]
        began = time.monotonic()
        is_elsewhere, mend = self._make(fault, old, others)
        new = await self.cluster.wait_for_another_primary(old if is_elsewhere else None)
        window = Window(fault, began, time.monotonic())
        self.windows.append(window)
        say(f"{number}. {fault} ({old.name}): commits again on {new.name} after {window.ended - began:.1f} s")
        await asyncio.sleep(CALM_SECONDS)
        mend()
        await self.cluster.wait_until_whole()
        await asyncio.sleep(CALM_SECONDS)

    def _make(self, fault: str, old: Host, others: list[Host]) -> tuple[bool, Callable[[], None]]:
        """Returns whether another server must take over, and how to mend it."""
        if fault == "kill PostgreSQL":
            old.kill_postgresql()
            return False, lambda: None
        if fault == "kill the machine":
            old.kill()
            return True, lambda: self.cluster.start(old)
        if fault == "cut off":
            old.cut()
            return True, old.heal
        old.cut_from(others)
        return True, lambda: old.heal_to(others)

    async def _rows(self) -> list[Row]:
        connection = await self.cluster.connect(await self.cluster.primary())
        try:
            found = await connection.fetch(
                "SELECT account_id, seq, ref_id, amount_nanos FROM transactions ORDER BY account_id, seq"
            )
        finally:
            await connection.close()
        return [Row(*row) for row in found]

    async def _wait_for_followers(self, rows: list[Row]) -> None:
        newest = Counter(row.account for row in rows)

        async def have_come() -> bool:
            return all(follower.received == newest[follower.account] for follower in self.followers)

        # What is missing then is a gap, which the checker finds.
        try:
            await comes(have_come, 60, "the last rows")
        except AssertionError as error:
            say(str(error))

    async def report(self) -> bool:
        events = self.history.events
        replayed = sum(isinstance(event, Acknowledged) and event.replayed for event in events)
        say(
            f"{_number(self, Acknowledged)} rows acknowledged ({replayed} after another call),"
            f" {_number(self, Read)} reads, {_number(self, Streamed)} rows streamed to {len(self.followers)} followers"
        )
        by_replicas = await self.gateways.reads_by("replica", self.session)
        by_primary = await self.gateways.reads_by("primary", self.session)
        say(f"{by_replicas} reads were answered by replicas, {by_primary} by the primary")
        for (fault, code), (times, seconds) in sorted(_told(self).items()):
            say(f"{fault}: {times} times {code}, for {seconds:.1f} s")
        found = faults(self.history)
        status = await self.gateways.verify()
        if status:
            found.append(f"verify: exit status {status}")
        for line in found[:50]:
            say(line)
        say(f"{len(found)} faults found")
        return not found


@asynccontextmanager
async def _running(works: Iterable[Coroutine[Any, Any, None]]) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _number(drill: Drill, kind: type) -> int:
    return sum(isinstance(event, kind) for event in drill.history.events)


def _told(drill: Drill) -> dict[tuple[str, str], tuple[int, float]]:
    """For each kind of fault and each code: how many calls ended so, and for how long after the fault the last one."""
    found: dict[tuple[str, str], tuple[int, float]] = {}
    for event in drill.history.events:
        if isinstance(event, Refused):
            before = [window for window in drill.windows if window.began <= event.ended]
            fault, began = (before[-1].fault, before[-1].began) if before else ("before", event.ended)
            times, seconds = found.get((fault, event.code), (0, 0.0))
            found[fault, event.code] = times + 1, max(seconds, event.ended - began)
    return found


@asynccontextmanager
async def prepared(plan: Plan, folder: Path, programs: Path, user: str | None) -> AsyncIterator[Drill]:
    lay_network()
    hosts = []
    for number in (1, 2, 3):
        own = folder / f"server{number}"
        own.mkdir()
        hosts.append(Host(number, own, user))
    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        cluster = Cluster(hosts, programs, session)
        for host in hosts:
            cluster.give_to_user(host)
            cluster.start(host)
        await cluster.wait_until_whole()
        say("PostgreSQL runs on three servers")
        await cluster.prepare()
        gateways = Gateways(cluster, folder, user)
        await asyncio.to_thread(gateways.migrate)
        await gateways.start()
        say("three gateways run")
        drill = Drill(plan, cluster, gateways, session)
        await drill.open_accounts()
        try:
            yield drill
        finally:
            gateways.stop()
            for host in hosts:
                host.kill()
