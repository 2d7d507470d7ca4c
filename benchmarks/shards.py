"""What does a second shard bring?

    python -m benchmarks.shards [--rounds N] [--seconds S] [--accounts N] [--write-docs]

One database with one gateway, on one core, takes turns with two databases that share the accounts and two gateways,
each pair on a core of its own. Each core also runs its own load, since there is no third. Any gateway is asked about
any account, as behind a load balancer: half of the accounts are on the other gateway's core. Then each is asked about
those of its own core's shard, as by a caller who reads the shard off the account's id.

Two systems that know nothing of each other run in turn with them, one on each core. They show how much more the machine
does when both of its cores are busy: no set of shards can do better.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import aiohttp
import orjson

from access.keys import Keys, KeyScope, NewKey
from benchmarks import load, postgresql, report
from benchmarks.filling import Filled
from benchmarks.operations import ROOT
from benchmarks.postgresql import DatabaseProcesses
from benchmarks.servers import KINDS, Request, Server, ServerFailed, running
from db.database import Database, DatabaseOptions
from db.shards import shard_of_id
from ledger.ids import parse_account_id
from tests.postgres import started

CONNECTIONS: Final = 64
"""For each core, as `benchmarks.posting` has them."""
ROWS_OF_ONE: Final = 60
FILLERS: Final = 32
WARM_SECONDS: Final = 3
WRITTEN: Final = ("openHold", "recordUsage")
READ: Final = "billing_page"

_GATEWAY: Final = next(kind for kind in KINDS if kind.name == "gateway")
_START: Final = datetime.now(UTC).replace(microsecond=0)
_HOUR: Final = {"periodStart": _START.isoformat(), "periodEnd": (_START + timedelta(hours=1)).isoformat()}
_USED: Final = {"inputTokens": "900", "outputTokens": "45", "cost": "0.000135"}
_REQUEST: Final = {"id": "@NUMBER@", "at": _START.isoformat(), "model": "m-large", "category": "CHAT", **_USED}
_GIVEN: Final[dict[str, dict[str, Any]]] = {
    "openHold": {"refType": "GPU_INSTANCE", "refId": "@NUMBER@", "amount": "0.01", **_HOUR},
    "recordUsage": {"requests": [_REQUEST]},
}
_PAYLOAD: Final = "transactions { id type amount balanceAfter description createdAt } balance replayed"


@dataclass(frozen=True, slots=True)
class Options:
    rounds: int
    seconds: int
    accounts: int
    write_docs: bool


@dataclass(frozen=True, slots=True)
class Core:
    """What has a core of the machine to itself."""

    number: int
    gateway: Server
    database: DatabaseProcesses
    service: str
    keys: dict[str, str]
    """Whole READ keys by account: those that its gateway is asked about."""

    def of_its_shard(self) -> Core:
        """Returns the same core; its gateway is asked about the accounts of the core's shard only."""
        keys = {one: key for one, key in self.keys.items() if shard_of_id(parse_account_id(one) or 0) == self.number}
        return replace(self, keys=keys)

    def requests(self, operation: str) -> list[Request]:
        """Each account once, in an order of this core's own. What is numbered differs from what the other core
        numbers."""
        accounts = Random(self.number).sample(list(self.keys), len(self.keys))
        if operation == READ:
            page = orjson.dumps({"query": (ROOT / "graphql/operations/BillingPage.graphql").read_text()})
            return [Request(self.keys[one], page) for one in accounts]
        own = f"{self.number}-@NUMBER@".encode()
        return [Request(self.service, _mutation(operation, one).replace(b"@NUMBER@", own)) for one in accounts]


@dataclass(slots=True)
class Setup:
    name: str
    cores: list[Core]
    rates: dict[str, list[float]] = field(default_factory=dict)
    gateway_cpu_ms: dict[str, list[float]] = field(default_factory=dict)
    database_cpu_ms: dict[str, list[float]] = field(default_factory=dict)


@contextmanager
def _on_core(number: int) -> Iterator[None]:
    """Processes that this thread starts meanwhile stay on the core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {number})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _document(name: str, selection: str) -> str:
    kind = f"{name[0].upper()}{name[1:]}Input"
    return f"mutation ($input: {kind}!) {{ {name}(input: $input) {{ {selection} }} }}"


def _mutation(name: str, account: str) -> bytes:
    given = {"idempotencyKey": "@NUMBER@", "accountId": account} | _GIVEN[name]
    return orjson.dumps({"query": _document(name, _PAYLOAD), "variables": {"input": given}})


async def _asked(session: aiohttp.ClientSession, key: str, name: str, selection: str, given: dict[str, Any]) -> Any:
    query, headers = _document(name, selection), {"Authorization": f"Bearer {key}"}
    async with session.post("/graphql", json={"query": query, "variables": {"input": given}}, headers=headers) as sent:
        answer = orjson.loads(await sent.read())
    if "errors" in answer:
        raise ServerFailed(str(answer)[:1000])
    return answer["data"][name]


async def _privileged_keys(url: str) -> tuple[str, str]:
    """Whole keys of a service and an operator, which are on the first shard."""
    database = Database(DatabaseOptions(url))
    keys = [await Keys(database).create(NewKey(scope, "benchmark")) for scope in (KeyScope.SERVICE, KeyScope.OPERATOR)]
    await database.close()
    return keys[0].secret, keys[1].secret


async def _account(session: aiohttp.ClientSession, operator: str, service: str, number: int) -> tuple[str, str]:
    """Creates an account with rows. Returns its id and a key that reads it."""
    new = {"idempotencyKey": f"account {number}", "name": f"Account {number}"}
    account = (await _asked(session, operator, "createAccount", "account { id }", new))["account"]["id"]
    about = {"accountId": account}
    correction = {"idempotencyKey": "welcome", "amount": "100000.00", "description": "Welcome"}
    await _asked(session, operator, "correctBalance", "balance", about | correction)
    for row in range(ROWS_OF_ONE - 1):
        hold = _GIVEN["openHold"] | {"idempotencyKey": f"fill {row}", "refId": f"fill {row}"}
        await _asked(session, service, "openHold", "balance", about | hold)
    key = {"idempotencyKey": "key", "scope": "READ", "owner": "benchmark"}
    return account, str((await _asked(session, operator, "createApiKey", "secret", about | key))["secret"])


async def _filled(gateway: Server, operator: str, service: str, accounts: int) -> dict[str, str]:
    """READ keys by account."""
    turns = asyncio.Semaphore(FILLERS)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{gateway.port}") as session:

        async def one(number: int) -> tuple[str, str]:
            async with turns:
                return await _account(session, operator, service, number)

        return dict(await asyncio.gather(*map(one, range(accounts))))


def _opened(stack: ExitStack, urls: Sequence[str], cores: Mapping[int, DatabaseProcesses], accounts: int) -> list[Core]:
    """Starts a gateway on each core, beside the server that is there, and fills the accounts."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="billing-bench-")))
    shards = (("BILLING_SHARDS", " ".join(urls[1:])),) if len(urls) > 1 else ()
    kind = replace(_GATEWAY, environment=(*_GATEWAY.environment, *shards))
    program = Path(sys.executable).with_name("billing-gateway")
    subprocess.run(
        (program, "migrate", "--database-url", urls[0]), env=os.environ | dict(shards), check=True, capture_output=True
    )
    service, operator = asyncio.run(_privileged_keys(urls[0]))
    filled = Filled(urls[0], ROWS_OF_ONE * accounts, accounts, _START, (), operator, ())
    gateways = []
    for number in cores:
        with _on_core(number):
            gateways.append(stack.enter_context(running(kind, filled, folder / f"{number}.log")))
    keys = asyncio.run(_filled(gateways[0], operator, service, accounts))
    return [
        Core(number, gateway, database, service, keys)
        for (number, database), gateway in zip(cores.items(), gateways, strict=True)
    ]


def _loaded(core: Core, operation: str, seconds: int) -> load.Answers:
    url, arguments = f"http://127.0.0.1:{core.gateway.port}/graphql", () if operation == READ else ("1",)
    with _on_core(core.number):
        return load.answers(
            url, core.requests(operation), connections=CONNECTIONS, seconds=seconds, arguments=arguments
        )


async def _run(setup: Setup, operation: str, seconds: int) -> None:
    before = [(core.gateway.cpu_seconds(), core.database.times()) for core in setup.cores]
    found = await asyncio.gather(*(asyncio.to_thread(_loaded, core, operation, seconds) for core in setup.cores))
    if failures := sum(one.failures for one in found):
        msg = f"{failures} calls failed: {operation}"
        raise ServerFailed(msg)
    count = sum(one.requests for one in found)
    pairs = list(zip(setup.cores, before, strict=True))
    gateways = sum(core.gateway.cpu_seconds() - cpu for core, (cpu, _) in pairs)
    databases = sum(core.database.since(times) for core, (_, times) in pairs)
    setup.rates.setdefault(operation, []).append(sum(one.requests / one.seconds for one in found))
    setup.gateway_cpu_ms.setdefault(operation, []).append(gateways / count * 1e3)
    setup.database_cpu_ms.setdefault(operation, []).append(databases / count * 1e3)


def _table(setups: Sequence[Setup]) -> Iterator[str]:
    yield report.row("operation", "", "a second", "÷ one shard", "gateway CPU ms", "database CPU ms")
    yield report.row("---", "---", *("---:" for _ in range(4)))
    for operation in (*WRITTEN, READ):
        alone = statistics.median(setups[0].rates[operation])
        for setup in setups:
            rate = statistics.median(setup.rates[operation])
            cpu = [statistics.median(of[operation]) for of in (setup.gateway_cpu_ms, setup.database_cpu_ms)]
            ratio = "" if setup is setups[0] else f"**{rate / alone:.2f}**"
            yield report.row(operation, setup.name, f"{rate:,.0f}", ratio, *(f"{each:.2f}" for each in cpu))


def _set_up(stack: ExitStack, accounts: int) -> tuple[list[Setup], str]:
    """Returns one shard, two of a set, the same two with calls sent by shard, and two without a set; and the version of
    PostgreSQL."""
    servers = []
    for number in range(2):
        with _on_core(number):
            servers.append(stack.enter_context(started()))
    databases = {number: DatabaseProcesses(postgresql.postmaster(server)) for number, server in enumerate(servers)}
    urls = [[server.url(asyncio.run(server.new_database())) for _ in range(3)] for server in servers]
    first, second = urls
    shared = _opened(stack, [first[1], second[1]], databases, accounts)
    setups = [
        Setup("one shard", _opened(stack, first[:1], {0: databases[0]}, accounts)),
        Setup("two shards", shared),
        Setup("two shards, by shard", [core.of_its_shard() for core in shared]),
        Setup(
            "two systems",
            [
                core
                for number in databases
                for core in _opened(stack, [urls[number][2]], {number: databases[number]}, accounts // 2)
            ],
        ),
    ]
    return setups, asyncio.run(postgresql.version(first[0]))


def _measured(options: Options) -> Iterator[str]:
    with ExitStack() as stack:
        setups, version = _set_up(stack, options.accounts)
        for operation in (*WRITTEN, READ):
            for setup in setups:
                asyncio.run(_run(setup, operation, WARM_SECONDS))
                for figures in (setup.rates, setup.gateway_cpu_ms, setup.database_cpu_ms):
                    figures[operation].clear()
            for turn in range(options.rounds):
                for setup in setups if turn % 2 == 0 else reversed(setups):
                    asyncio.run(_run(setup, operation, options.seconds))
    yield from report.machine("the databases, the gateways and wrk", [version], {"gateway"})
    yield (
        f"{CONNECTIONS} connections for each core; {options.accounts} accounts; medians of {options.rounds} rounds of"
        f" {options.seconds} s in which they take turns. Each gateway of a set is asked about all accounts, or"
        " (by shard) about those of its core's shard. Two systems share nothing but the machine: each"
        " has half of the accounts."
    )
    yield ""
    yield from _table(setups)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shards", description="Measure a second shard.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of one run of wrk")
    parser.add_argument("--accounts", type=int, default=1_000)
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/benchmarks.md")
    options = Options(**vars(parser.parse_args()))
    lines = list(_measured(options))
    print("\n".join(lines))
    if options.write_docs:
        report.write_docs("shards", lines)


if __name__ == "__main__":
    main()
