"""Load by wrk: a number of connections, each of which sends the next request when it has its answer."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.operations import Asked, Operation
from benchmarks.postgresql import DatabaseProcesses
from benchmarks.servers import Request, Server, ServerFailed

_SCRIPT: Final = Path(__file__).with_name("load.lua")
LONGEST_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of wrk came to."""

    requests: int
    seconds: float
    median_ms: float
    p99_ms: float
    server_cpu_ms: float
    """Of the server's process, a request."""
    database_cpu_ms: float
    """Of all of PostgreSQL's processes, a request: the writer's share in it too. 0 on SQLite."""

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True)
class Answers:
    """What wrk counted."""

    requests: int
    seconds: float
    median_ms: float
    p99_ms: float
    failures: int


def answers(
    url: str, requests: Iterable[Request], *, connections: int, seconds: int, arguments: Sequence[str] = ()
) -> Answers:
    """`arguments` are those of load.lua after the file of requests."""
    with tempfile.NamedTemporaryFile("wb", suffix=".txt") as file:
        for request in requests:
            assert b"\n" not in request.body
            file.write(request.key.encode() + b"\n" + request.body + b"\n")
        file.flush()
        options = ("-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(_SCRIPT))
        command = ("wrk", *options, url, "--", file.name, *arguments)
        printed = subprocess.run(command, capture_output=True, text=True, check=True)
    (line,) = (line for line in printed.stdout.splitlines() if line.startswith("figures "))
    count, duration, median, p99, failures = map(int, line.split()[1:])
    return Answers(count, duration / 1e6, median / 1e3, p99 / 1e3, failures)


def run(
    server: Server,
    operation: Operation,
    asked: Sequence[Asked],
    *,
    connections: int,
    seconds: int,
    database: DatabaseProcesses,
) -> Run:
    """
    Where not one answer came, the run is made anew with twice the time: a server that works at all connections'
    requests side by side answers them all late.

    Raises ServerFailed if any answer was not 200 or had errors, or none came in LONGEST_SECONDS.
    """
    url = f"http://127.0.0.1:{server.port}{server.path(operation)}"
    requests = [server.request(operation, one) for one in asked]
    server_before, database_before = server.cpu_seconds(), database.times()
    found = answers(url, requests, connections=connections, seconds=seconds)
    server_cpu, database_cpu = server.cpu_seconds() - server_before, database.since(database_before)
    if not (found.requests or found.failures) and seconds < LONGEST_SECONDS:
        longer = min(2 * seconds, LONGEST_SECONDS)
        return run(server, operation, asked, connections=connections, seconds=longer, database=database)
    if found.failures or not found.requests:
        msg = f"{server.kind.name} failed {found.failures} of {found.requests} requests of {operation.name}"
        raise ServerFailed(msg)
    return Run(
        requests=found.requests,
        seconds=found.seconds,
        median_ms=found.median_ms,
        p99_ms=found.p99_ms,
        server_cpu_ms=server_cpu / found.requests * 1e3,
        database_cpu_ms=database_cpu / found.requests * 1e3,
    )
