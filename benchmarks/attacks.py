"""What does an attack by one key, or by none, do to another customer?

    python -m benchmarks.attacks [--databases postgresql,sqlite] [--seconds N] [--attacks NAME,…]

A bystander opens the Billing page 50 times a second with a key of its own, first undisturbed and then under each
attack. Gateway and database run on this machine, and so does the attacker, in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import aiohttp
import orjson

from benchmarks.filling import Filled, copy_to_sqlite, fill
from benchmarks.operations import ROOT
from benchmarks.servers import KINDS, Server, running
from tests.postgres import started

ROWS: Final = 300_000
"""Of all accounts; the attacker's has half of them."""
ACCOUNTS: Final = 10
RATE: Final = 50
CALM_SECONDS: Final = 10.0

_GATEWAY: Final = replace(next(kind for kind in KINDS if kind.name == "gateway"), environment=())
"""With the default limits."""
_PAGE: Final = (ROOT / "graphql/operations/BillingPage.graphql").read_text()
_FOLLOW: Final = "subscription { balanceChanged { cursor } }"


@dataclass(frozen=True, slots=True)
class Attacker:
    port: int
    key: str
    ends_at: float

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.ends_at

    async def post(self, session: aiohttp.ClientSession, body: bytes) -> None:
        """Whatever the answer is."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with session.post(f"http://127.0.0.1:{self.port}/graphql", data=body, headers=headers) as response:
                await response.read()

    async def repeat(self, connections: int, make: Callable[[int], bytes]) -> None:
        """Sends one body after the other on each connection."""
        numbers = iter(range(10**9))

        async def one(session: aiohttp.ClientSession) -> None:
            while self.goes_on:
                await self.post(session, make(next(numbers)))

        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
            await asyncio.gather(*(one(session) for _ in range(connections)))

    async def hold(self, connections: int, sent: bytes) -> None:
        """Opens connections, sends the beginning of a request and waits."""
        held: list[asyncio.StreamWriter] = []
        while self.goes_on:
            if len(held) < connections:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.write(sent)
                    held.append(writer)
            else:
                await asyncio.sleep(0.1)
        for writer in held:
            writer.close()


def _body(query: str, **variables: object) -> bytes:
    return orjson.dumps({"query": query, "variables": variables})


def _aliases(field: str) -> str:
    return "{ account { " + " ".join(f"a{number}: {field}" for number in range(15)) + " } }"


_SEARCHES: Final = _body(_aliases('transactions(first: 1, filter: {search: "zzzz"}) { totalCount totals { net } }'))
_PAGES: Final = _body(_aliases("transactions(first: 1000) { nodes { explanation corrects { id } charge { id } } }"))
_ONE_PAGE: Final = _body("{ account { transactions(first: 1000) { nodes { explanation charge { id } } } } }")
_USAGE: Final = "query ($models: [String!]) { account { usage(filter: {models: $models}) { totalCount } } }"
_UNKNOWN: Final = _body("{ account { " + " ".join(f"f{number}" for number in range(900)) + " } }")
_EQUAL: Final = _body("{ account { " + "transactions { totalCount } " * 245 + "} }")
_COMMENT: Final = _body("{ viewer { scope } } #" + "x" * 1_000_000)
_TYPES: Final = _body("{ __schema { types { name fields { name type { name kind ofType { name } } } } } }")
_BYTES: Final = b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{"


async def _subscribe(attacker: Attacker, count: int) -> None:
    """Subscriptions of one key, a hundred to a socket."""
    url = f"ws://127.0.0.1:{attacker.port}/graphql"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for _ in range(count // 100):
            if not attacker.goes_on:
                return
            with suppress(aiohttp.ClientError, OSError):
                socket = await session.ws_connect(url, protocols=("graphql-transport-ws",))
                init = {"type": "connection_init", "payload": {"Authorization": f"Bearer {attacker.key}"}}
                await socket.send_json(init)
                for number in range(100):
                    payload = {"query": _FOLLOW}
                    await socket.send_json({"type": "subscribe", "id": str(number), "payload": payload})
        await asyncio.sleep(attacker.ends_at - time.monotonic())


async def _export(attacker: Attacker, connections: int) -> None:
    """Exports of one key, each read to its end and begun anew."""
    url, headers = (
        f"http://127.0.0.1:{attacker.port}/billing/transactions.csv",
        {"Authorization": f"Bearer {attacker.key}"},
    )

    async def one(session: aiohttp.ClientSession) -> None:
        while attacker.goes_on:
            with suppress(aiohttp.ClientError, OSError):
                async with session.get(url, headers=headers) as response:
                    await response.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        with suppress(TimeoutError):
            async with asyncio.timeout(attacker.ends_at - time.monotonic()):
                await asyncio.gather(*(one(session) for _ in range(connections)))


async def _ping(attacker: Attacker, sockets: int) -> None:
    """Messages that need no answer from the database, two hundred at once on each socket."""

    async def one(session: aiohttp.ClientSession) -> None:
        url = f"ws://127.0.0.1:{attacker.port}/graphql"
        async with session.ws_connect(url, protocols=("graphql-transport-ws",)) as socket:
            init = {"type": "connection_init", "payload": {"Authorization": f"Bearer {attacker.key}"}}
            await socket.send_json(init)
            while attacker.goes_on:
                for _ in range(200):
                    await socket.send_str('{"type":"ping"}')
                for _ in range(200):
                    await socket.receive(timeout=30)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(one(session) for _ in range(sockets)), return_exceptions=True)


ATTACKS: Final[dict[str, Callable[[Attacker], Awaitable[None]]]] = {
    "15 searches with totals, 12 connections": lambda one: one.repeat(12, lambda _: _SEARCHES),
    "15 pages of 1,000 with explanations": lambda one: one.repeat(1, lambda _: _PAGES),
    "one page of 1,000 with explanations, 12 connections": lambda one: one.repeat(12, lambda _: _ONE_PAGE),
    "200,000 list items in variables": lambda one: one.repeat(1, lambda _: _body(_USAGE, models=[1] * 200_000)),
    "900 unknown fields": lambda one: one.repeat(1, lambda _: _UNKNOWN),
    "245 equal fields": lambda one: one.repeat(1, lambda _: _EQUAL),
    "a comment of 1 MB": lambda one: one.repeat(1, lambda _: _COMMENT),
    "introspection": lambda one: one.repeat(1, lambda _: _TYPES),
    "a new document each time": lambda one: one.repeat(1, lambda number: _body(f"{_PAGE} #{number}")),
    "300 half headers, no key": lambda one: one.hold(300, b"GET /graphql HTTP/1.1\r\nHost: x\r\nX-A: "),
    "300 half bodies, no key": lambda one: one.hold(300, _BYTES),
    "10,000 subscriptions of one key": lambda one: _subscribe(one, 10_000),
    "refused requests, 200 connections": lambda one: one.repeat(200, lambda _: _SEARCHES),
    "exports, 12 connections": lambda one: _export(one, 12),
    "pings, 12 sockets": lambda one: _ping(one, 12),
}


async def _watch(server: Server, key: str, seconds: float) -> tuple[list[float], int]:
    """The bystander's times in milliseconds, and how often it got no right answer."""
    body = _body(_PAGE)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    times: list[float] = []
    failures = 0

    async def one(session: aiohttp.ClientSession) -> None:
        nonlocal failures
        begun = time.perf_counter()
        try:
            async with session.post(f"http://127.0.0.1:{server.port}/graphql", data=body, headers=headers) as response:
                answer = orjson.loads(await response.read())
            failures += "errors" in answer or response.status != 200
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError):
            failures += 1
        times.append((time.perf_counter() - begun) * 1000)

    timeout = aiohttp.ClientTimeout(total=30)
    everyone = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=everyone, timeout=timeout) as session, asyncio.TaskGroup() as group:
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            group.create_task(one(session))
            await asyncio.sleep(1 / RATE)
    return times, failures


def _megabytes(server: Server) -> float:
    return float(server.process.memory_info().rss) / 2**20


def _told(name: str, times: list[float], failures: int, megabytes: float, after: float) -> str:
    p50, p99 = statistics.median(times), statistics.quantiles(times, n=100)[98]
    return f"| {name} | {p50:.1f} | {p99:.1f} | {failures} | {megabytes:.0f} | {after:.0f} |"


def _under(server: Server, filled: Filled, name: str, seconds: float) -> str:
    before = _megabytes(server)
    command = (sys.executable, "-m", "benchmarks.attacks", "--attack", name, str(server.port), filled.account_keys[0])
    attacker = subprocess.Popen((*command, str(seconds)))
    try:
        times, failures = asyncio.run(_watch(server, filled.account_keys[1], seconds))
    finally:
        attacker.wait(timeout=seconds + 60)
    time.sleep(CALM_SECONDS)
    return _told(name, times, failures, before, _megabytes(server))


def _databases(names: list[str], folder: Path) -> Generator[tuple[str, Filled], None, None]:
    with ExitStack() as stack:
        server = stack.enter_context(started())
        url = server.url(asyncio.run(server.new_database()))
        filled = asyncio.run(fill(url, rows=ROWS, accounts=ACCOUNTS, half_to_the_first=True))
        if "postgresql" in names:
            yield "postgresql", filled
        if "sqlite" in names:
            yield "sqlite", asyncio.run(copy_to_sqlite(filled, folder / "billing.db"))


def _measure(names: list[str], attacks: list[str], seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder, closing(_databases(names, Path(folder))) as databases:
        for database, filled in databases:
            with running(_GATEWAY, filled, Path(folder) / f"{database}.log") as server:
                print(f"\n{database}\n\n| attack | p50 ms | p99 ms | failures | MB before | MB after |")
                print("| --- | --- | --- | --- | --- | --- |", flush=True)
                asyncio.run(_watch(server, filled.account_keys[1], 2))
                times, failures = asyncio.run(_watch(server, filled.account_keys[1], seconds))
                print(_told("none", times, failures, _megabytes(server), _megabytes(server)), flush=True)
                for name in attacks:
                    print(_under(server, filled, name, seconds), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", default="postgresql,sqlite")
    parser.add_argument("--attacks", default="|".join(ATTACKS), help="names, separated by |")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--attack", nargs=4, metavar=("NAME", "PORT", "KEY", "SECONDS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.attack:
        name, port, key, seconds = given.attack
        asyncio.run(_attack(name, Attacker(int(port), key, time.monotonic() + float(seconds))))
    else:
        _measure(given.databases.split(","), given.attacks.split("|"), given.seconds)


async def _attack(name: str, attacker: Attacker) -> None:
    await ATTACKS[name](attacker)


if __name__ == "__main__":
    main()
