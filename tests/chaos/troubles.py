"""Faults, each a context that holds while the fault lasts."""

from __future__ import annotations

import asyncio
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import psutil

from tests.chaos.scene import Scene
from tests.postgres import Postgres

Trouble = Callable[[Scene], AbstractAsyncContextManager[None]]

SLOW_READERS: Final = 40
FLOODERS: Final = 12
LOG_FILES: Final = 20

_HEAVY: Final = "{ account { transactions(first: 1000) { nodes { explanation corrects { id } charge { id } } } } }"


def _server(scene: Scene) -> Postgres:
    assert scene.server is not None
    return scene.server


def _postmaster(server: Postgres) -> psutil.Process:
    return psutil.Process(int((server.folder / "postmaster.pid").read_text().split()[0]))


def _is_running(server: Postgres) -> bool:
    try:
        return bool(_postmaster(server).is_running())
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False


@asynccontextmanager
async def backend_killed(scene: Scene) -> AsyncIterator[None]:
    """PostgreSQL ends all connections and recovers."""
    await _server(scene).kill_backend()
    yield


@asynccontextmanager
async def database_killed(scene: Scene) -> AsyncIterator[None]:
    server = _server(scene)
    process = _postmaster(server)
    process.send_signal(signal.SIGQUIT)
    await asyncio.to_thread(process.wait, 30)
    try:
        yield
    finally:
        await asyncio.to_thread(server.start)


@asynccontextmanager
async def database_restarted(scene: Scene) -> AsyncIterator[None]:
    await asyncio.to_thread(_server(scene).stop)
    try:
        yield
    finally:
        await asyncio.to_thread(_server(scene).start)


@asynccontextmanager
async def database_hung(scene: Scene) -> AsyncIterator[None]:
    with _server(scene).frozen():
        yield


@asynccontextmanager
async def disk_full(scene: Scene) -> AsyncIterator[None]:
    await asyncio.to_thread(scene.disk.fill)
    try:
        if scene.server is not None:
            await _use_up_log(scene.server)
        yield
    finally:
        scene.disk.empty()
        if scene.server is not None and not _is_running(scene.server):
            await asyncio.to_thread(scene.server.start)


async def _use_up_log(server: Postgres) -> None:
    """PostgreSQL goes on for as long as it has files of its log to write to again."""
    with suppress(OSError, asyncpg.PostgresError):
        for _ in range(LOG_FILES):
            await server.execute("SELECT pg_logical_emit_message(false, '', ''), pg_switch_wal()")


@asynccontextmanager
async def database_read_only(scene: Scene) -> AsyncIterator[None]:
    await _set_read_only(_server(scene), "on")
    try:
        yield
    finally:
        await _set_read_only(_server(scene), "off")


async def _set_read_only(server: Postgres, setting: str) -> None:
    writable = {"default_transaction_read_only": "off"}
    connection = await asyncpg.connect(
        user=server.user, database="postgres", host=server.host, server_settings=writable
    )
    try:
        await connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {setting}")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()


@asynccontextmanager
async def connections_lost(scene: Scene) -> AsyncIterator[None]:
    """Without a word, as behind a firewall that forgot them."""
    assert scene.proxy is not None
    scene.proxy.lose_all()
    yield


@asynccontextmanager
async def host_silent(scene: Scene) -> AsyncIterator[None]:
    """New connections get no answer either."""
    assert scene.proxy is not None
    scene.proxy.silent = True
    try:
        yield
    finally:
        scene.proxy.silent = False
        scene.proxy.lose_all()


@asynccontextmanager
async def pool_starved(scene: Scene) -> AsyncIterator[None]:
    """Every statement on accounts waits and keeps its connection."""
    connection = await asyncpg.connect(scene.direct_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


@asynccontextmanager
async def file_locked(scene: Scene) -> AsyncIterator[None]:
    path = scene.disk.folder / "billing.db"
    with closing(sqlite3.connect(path, isolation_level=None, timeout=20)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.rollback()


@asynccontextmanager
async def gateway_killed(scene: Scene) -> AsyncIterator[None]:
    await scene.gateways[0].kill()
    try:
        yield
    finally:
        await scene.gateways[0].start()


@asynccontextmanager
async def gateway_restarted(scene: Scene) -> AsyncIterator[None]:
    await scene.gateways[1].stop()
    try:
        yield
    finally:
        await scene.gateways[1].start()


@asynccontextmanager
async def gateway_hung(scene: Scene) -> AsyncIterator[None]:
    process = psutil.Process(scene.gateways[0].pid)
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@asynccontextmanager
async def workers_killed(scene: Scene) -> AsyncIterator[None]:
    for worker in scene.workers:
        await worker.kill()
    try:
        yield
    finally:
        for worker in scene.workers:
            await worker.start()


@asynccontextmanager
async def clock_ahead(scene: Scene) -> AsyncIterator[None]:
    _signal(scene, signal.SIGUSR1)
    try:
        yield
    finally:
        _signal(scene, signal.SIGUSR2)


def _signal(scene: Scene, number: signal.Signals) -> None:
    for gateway in scene.gateways:
        psutil.Process(gateway.pid).send_signal(number)


@asynccontextmanager
async def slow_readers(scene: Scene) -> AsyncIterator[None]:
    """Clients that ask for exports and large pages and read nothing."""
    customer, opened = scene.customers[0], list[socket.socket]()
    try:
        for number in range(SLOW_READERS):
            path = "transactions.csv" if number % 2 else "transactions?limit=1000"
            port = urlsplit(scene.gateways[number % 2].address).port
            one = socket.create_connection(("127.0.0.1", port), 5)
            request = f"GET /billing/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {customer.key}\r\n\r\n"
            one.sendall(request.encode())
            opened.append(one)
        yield
    finally:
        for one in opened:
            one.close()


@asynccontextmanager
async def flood(scene: Scene) -> AsyncIterator[None]:
    """Operations of one key that cost more than it has, on many connections."""

    async def send(session: aiohttp.ClientSession, address: str) -> None:
        headers = {"Authorization": f"Bearer {scene.flooder.key}"}
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                async with session.post(f"{address}/graphql", json={"query": _HEAVY}, headers=headers) as response:
                    await response.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        addresses = [scene.gateways[number % 2].address for number in range(FLOODERS)]
        tasks = [asyncio.create_task(send(session, address)) for address in addresses]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


ANYWHERE: Final[Sequence[Trouble]] = (
    flood, slow_readers, clock_ahead, gateway_killed, gateway_restarted, gateway_hung, workers_killed, disk_full,
)  # fmt: skip
OF_SQLITE: Final[Sequence[Trouble]] = (file_locked, *ANYWHERE)
OF_POSTGRESQL: Final[Sequence[Trouble]] = (
    database_killed, database_hung, database_restarted, backend_killed, database_read_only, connections_lost,
    host_silent, pool_starved, *ANYWHERE,
)  # fmt: skip
