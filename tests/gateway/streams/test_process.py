"""A process of its own that is told to end while it streams."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, WSMsgType

from access.keys import Keys, KeyScope, NewKey
from db.database import Database, DatabaseOptions
from gateway.serve import WorkerFailed, serve_workers
from gateway.settings import Settings
from ledger.accounts import Accounts
from tests.ledger.desk import OPERATOR, Desk, correction
from tests.ports import free_port

SUBSCRIPTION = "subscription { balanceChanged { balance } }"


class Process:
    def __init__(self, url: str, log: Path, *arguments: str) -> None:
        self._log = log
        command = [sys.executable, "-m", "gateway.cli", "serve", *arguments]
        with log.open("wb") as file:
            self._process = subprocess.Popen(command, env=os.environ | {"BILLING_DATABASE_URL": url}, stderr=file)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    async def address(self) -> str:
        for _ in range(600):
            found = re.search(r'"address": ?"(http://[^"]+)"', self._log.read_text())
            if found:
                return found[1]
            await asyncio.sleep(0.05)
        raise AssertionError(self._log.read_text())

    def children(self) -> list[int]:
        pid = self._process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        return await asyncio.to_thread(self._process.wait, 60)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


Start = Callable[..., Process]


@pytest.fixture
def start(sqlite_file_url: str, tmp_path: Path) -> Iterator[Start]:
    started: list[Process] = []

    def process(*arguments: str) -> Process:
        started.append(Process(sqlite_file_url, tmp_path / "log", *arguments))
        return started[-1]

    yield process
    for one in started:
        one.kill()


@pytest.fixture
async def key(sqlite_file_url: str) -> str:
    """Of an account with a balance."""
    database = Database(DatabaseOptions(sqlite_file_url))
    row = await Accounts(database).create("One")
    await Desk(database).post(row.id, correction(10**9), writer=OPERATOR)
    key = await Keys(database).create(NewKey(KeyScope.READ, "tests", row.id))
    await database.close()
    return key.secret


async def test_at_sigterm_all_streams_end_in_time_and_so_does_the_process(start: Start, key: str) -> None:
    process = start("--port", "0", "--shutdown-seconds", "6")
    address, headers = f"{await process.address()}/graphql", {"Authorization": f"Bearer {key}"}
    payload = {"query": SUBSCRIPTION}
    codes: list[int] = []
    bodies: list[bytes] = []

    async def listen(session: ClientSession) -> None:
        async with session.ws_connect(address, protocols=["graphql-transport-ws"], headers=headers) as ws:
            await ws.send_json({"type": "connection_init"})
            await ws.send_json({"type": "subscribe", "id": "a", "payload": payload})
            assert [(await ws.receive_json(timeout=30))["type"] for _ in range(2)] == ["connection_ack", "next"]
            begun.release()
            message = await ws.receive(timeout=30)
            assert message.type == WSMsgType.CLOSE
            codes.append(message.data)

    async def read(session: ClientSession) -> None:
        accept = headers | {"Accept": "text/event-stream"}
        async with session.post(address, json=payload, headers=accept) as response:
            head = await response.content.readuntil(b"\n\n")
            begun.release()
            bodies.append(head + await response.content.read())

    begun = asyncio.Semaphore(0)
    async with ClientSession() as session:
        streams = [asyncio.create_task(kind(session)) for kind in (listen, read) for _ in range(30)]
        async with asyncio.timeout(60):
            for _ in streams:
                await begun.acquire()
        process.terminate()
        began = time.monotonic()
        await asyncio.gather(*streams)
        assert await process.ended() == 0
        # Sixty streams take far less than there is time.
        assert time.monotonic() - began < 6
    assert codes == [1012] * 30
    assert {body.count(b"event: next") for body in bodies} == {1}
    assert b"complete" not in b"".join(bodies)
    assert {line["level"] for line in process.lines()} == {"info"}
    ends = [line for line in process.lines() if line["event"] == "stream"]
    assert [(line["key"], line["events"], line["reason"]) for line in ends] == [(key[:12], 1, "the process stops")] * 60
    assert key not in json.dumps(process.lines())


async def test_workers_count_their_subscribers_together(start: Start, key: str) -> None:
    port = free_port()
    process = start("--port", str(port), "--workers", "2")
    address, headers = f"{await process.address()}/graphql", {"Authorization": f"Bearer {key}"}
    async with ClientSession() as session:
        sockets = []
        for _ in range(8):
            ws = await session.ws_connect(address, protocols=["graphql-transport-ws"], headers=headers)
            await ws.send_json({"type": "connection_init"})
            await ws.send_json({"type": "subscribe", "id": "a", "payload": {"query": SUBSCRIPTION}})
            assert [(await ws.receive_json(timeout=30))["type"] for _ in range(2)] == ["connection_ack", "next"]
            sockets.append(ws)
        async with session.get(f"{address.removesuffix('/graphql')}/metrics") as response:
            assert 'billing_subscribers{transport="websocket"} 8.0' in await response.text()
        for ws in sockets:
            await ws.close()
    process.terminate()
    assert await process.ended() == 0


async def test_serving_is_logged_once_workers_listen_and_a_killed_one_is_not_counted(start: Start, key: str) -> None:
    port = free_port()
    process = start("--port", str(port), "--workers", "2")
    address, headers = await process.address(), {"Authorization": f"Bearer {key}"}
    socket.create_connection(("127.0.0.1", port)).close()
    async with ClientSession() as session:
        sockets = [await _subscribed(session, address, headers) for _ in range(16)]
        os.kill(process.children()[0], signal.SIGKILL)
        left = [ws for ws in sockets if await _lives(ws)]
        assert 0 < len(left) < 16
        expected = f'billing_subscribers{{transport="websocket"}} {len(left)}.0'
        async with asyncio.timeout(30):
            while expected not in await _metrics(session, address):  # noqa: ASYNC110  the gauge is another process's
                await asyncio.sleep(0.1)
        for ws in left:
            await ws.close()
    process.terminate()
    assert await process.ended() == 0


async def _subscribed(session: ClientSession, address: str, headers: dict[str, str]) -> ClientWebSocketResponse:
    ws = await session.ws_connect(f"{address}/graphql", protocols=["graphql-transport-ws"], headers=headers)
    await ws.send_json({"type": "connection_init"})
    await ws.send_json({"type": "subscribe", "id": "a", "payload": {"query": SUBSCRIPTION}})
    assert [(await ws.receive_json(timeout=30))["type"] for _ in range(2)] == ["connection_ack", "next"]
    return ws


async def _lives(ws: ClientWebSocketResponse) -> bool:
    try:
        await ws.send_json({"type": "ping"})
        return bool((await ws.receive_json(timeout=30))["type"] == "pong")
    except (ClientError, ConnectionError, TypeError):
        return False


async def _metrics(session: ClientSession, address: str) -> str:
    """Empty if the worker that is asked has just been killed."""
    with contextlib.suppress(ClientError):
        async with session.get(f"{address}/metrics") as response:
            return await response.text()
    return ""


def test_a_worker_that_ends_before_it_listens_ends_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    started: list[str] = []
    try:
        with pytest.raises(WorkerFailed, match="before it listened"):
            serve_workers(Settings.model_construct(workers=2, port=0), started.append)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert started == []
