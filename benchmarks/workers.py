"""What does a second worker bring?

    python -m benchmarks.workers [--rows N] [--rounds N] [--seconds S] [--write-docs]

One worker and two take turns under the same load. On two cores PostgreSQL and wrk take what the second worker would
need: so besides requests a second, the CPU that a request costs each of them is counted. Workers that share nothing
but the database cost as much for each request as one alone does; then as many cores as there are workers, with the
database on one of its own, give as many times the requests. `introspection`, which asks the database for nothing,
shows it without any reckoning.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import psutil
from graphql import get_introspection_query

from benchmarks import load, postgresql, report
from benchmarks.filling import Filled, fill
from benchmarks.operations import OPERATIONS, Operation
from benchmarks.postgresql import DatabaseProcesses
from benchmarks.servers import KINDS, START_SECONDS, Server, ServerFailed, ServerKind, cpu_seconds, running
from tests.postgres import started

CONNECTIONS: Final = 16
WARM_SECONDS: Final = 2
BUSY: Final = 0.9
"""Of a core: what one worker under load takes of it at least, if nobody else does."""
_GATEWAY: Final = next(kind for kind in KINDS if kind.name == "gateway")
_BY_NAME: Final = {operation.name: operation for operation in OPERATIONS}
_INTROSPECTION: Final = replace(
    _BY_NAME["billing_page"],
    name="introspection",
    title="The whole schema",
    document=get_introspection_query(descriptions=False),
    variables=lambda _asked, _filled, _cursor: {},
)
_OPERATIONS: Final = (_INTROSPECTION, _BY_NAME["billing_page"], _BY_NAME["more_transactions"])


@dataclass(frozen=True, slots=True)
class Options:
    rows: int
    accounts: int
    rounds: int
    seconds: int
    write_docs: bool


@dataclass(frozen=True, slots=True)
class Run:
    rate: float
    worker_cpu_ms: float
    """A request, of the worker that it reached."""
    database_cpu_ms: float
    load_cpu_ms: float
    busy: float
    """Cores that the workers kept busy."""
    least_share: float
    """Of the workers' CPU time, what the one with less to do took."""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _kind(workers: int) -> ServerKind:
    def command(port: int, url: str) -> tuple[str, ...]:
        *words, _one = _GATEWAY.command(port, url)
        return (*words, str(workers))

    return replace(_GATEWAY, name=f"{workers} workers", command=command)


def _workers(server: Server) -> list[psutil.Process]:
    """One alone is the process itself; more are children of it."""
    return server.process.children() or [server.process]


def _await_workers(server: Server, workers: int) -> None:
    ends_at = time.monotonic() + START_SECONDS
    while time.monotonic() < ends_at:
        listening = [
            worker for worker in _workers(server) if any(c.status == "LISTEN" for c in worker.net_connections("tcp"))
        ]
        if len(listening) == workers:
            return
        time.sleep(0.1)
    msg = f"{workers} workers did not start within {START_SECONDS:.0f} s"
    raise ServerFailed(msg)


def _load_cpu() -> float:
    """Of the processes that this one started and waited for: wrk."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(server: Server, operation: Operation, seconds: int, database: DatabaseProcesses) -> Run:
    workers = _workers(server)
    before, load_before = [cpu_seconds(worker) for worker in workers], _load_cpu()
    run = load.run(
        server,
        operation,
        operation.asked(server.filled),
        connections=CONNECTIONS,
        seconds=seconds,
        database=database,
    )
    used = [cpu_seconds(worker) - start for worker, start in zip(workers, before, strict=True)]
    return Run(
        rate=run.rate,
        worker_cpu_ms=sum(used) / run.requests * 1000,
        database_cpu_ms=run.database_cpu_ms,
        load_cpu_ms=(_load_cpu() - load_before) / run.requests * 1000,
        busy=sum(used) / run.seconds,
        least_share=min(used) / sum(used),
    )


def _median(runs: Sequence[Run]) -> Run:
    return Run(*(statistics.median(getattr(run, name) for run in runs) for name in Run.__slots__))


def _table(measured: dict[str, tuple[Run, Run]]) -> Iterator[str]:
    yield report.row(
        "operation", "workers", "req/s", "÷ one", "worker CPU ms", "database CPU ms", "wrk CPU ms", "cores busy",
        "least worker's share", "÷ one at most here", "÷ one on cores of their own",
    )  # fmt: skip
    yield report.row("---", *("---:" for _ in range(10)))
    for name, (one, two) in measured.items():
        all_together = one.worker_cpu_ms + one.database_cpu_ms + one.load_cpu_ms
        most = min(2.0, (psutil.cpu_count() or 1) * one.worker_cpu_ms / all_together)
        own = 2 * one.worker_cpu_ms / two.worker_cpu_ms
        for workers, run in ((1, one), (2, two)):
            yield report.row(
                name,
                workers,
                f"{run.rate:,.0f}",
                f"**{run.rate / one.rate:.2f}**" if workers == 2 else "",
                f"{run.worker_cpu_ms:.2f}",
                f"{run.database_cpu_ms:.2f}",
                f"{run.load_cpu_ms:.2f}",
                f"{run.busy:.2f}",
                f"{run.least_share:.2f}" if workers == 2 else "",
                f"{most:.2f}" if workers == 2 else "",
                f"{own:.2f}" if workers == 2 else "",
            )


def _turns(options: Options, filled: Filled, folder: Path, database: DatabaseProcesses) -> dict[str, tuple[Run, Run]]:
    measured = {}
    with ExitStack() as stack:
        servers = []
        for workers in (1, 2):
            server = stack.enter_context(running(_kind(workers), filled, folder / f"{workers}.log"))
            _await_workers(server, workers)
            servers.append(server)
        for operation in _OPERATIONS:
            runs: tuple[list[Run], list[Run]] = ([], [])
            for server in servers:
                _run(server, operation, WARM_SECONDS, database)
            for turn in range(options.rounds):
                for which in (0, 1) if turn % 2 == 0 else (1, 0):
                    runs[which].append(_run(servers[which], operation, options.seconds, database))
            one, two = map(_median, runs)
            measured[operation.name] = one, two
            _say(f"{operation.name}: {one.rate:,.0f} requests a second by one worker, {two.rate:,.0f} by two")
    return measured


def _measured(options: Options) -> Iterator[str]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="billing-bench-")))
        server = stack.enter_context(started())
        url = server.url(asyncio.run(server.new_database()))
        _say(f"filling {options.rows:,} rows over {options.accounts} accounts")
        filled = asyncio.run(fill(url, rows=options.rows, accounts=options.accounts))
        version = asyncio.run(postgresql.version(url))
        measured = _turns(options, filled, folder, DatabaseProcesses(postgresql.postmaster(server)))
    yield from report.machine("the workers, the database and wrk", [version], {"gateway"})
    yield (
        f"{CONNECTIONS} connections; medians of {options.rounds} rounds of {options.seconds} s in which one worker"
        " and two take turns. CPU is per request. *At most here*: twice the CPU of a worker's request as a share of"
        " what all of this machine's processes spend on it, since they share the cores. *On cores of their own*: twice"
        " the requests that a second of a worker's CPU answers with two, in proportion to those with one."
    )
    if (busy := min(one.busy for one, _ in measured.values())) < BUSY:
        yield (
            f"**One worker alone was kept from its core, of which it had {busy:.2f}: something else ran meanwhile, and"
            " these figures say nothing.**"
        )
    yield ""
    yield from _table(measured)


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description="Measure a second worker.")
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--accounts", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of one run of wrk")
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/benchmarks.md")
    options = Options(**vars(parser.parse_args()))
    if options.rows // options.accounts < 2_000:
        parser.error("each account needs 2,000 rows: pages lie deep in its ledger")
    return options


def main() -> None:
    options = _options()
    lines = list(_measured(options))
    print("\n".join(lines))
    if options.write_docs:
        report.write_docs("workers", lines)


if __name__ == "__main__":
    main()
