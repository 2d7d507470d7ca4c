"""Servers side by side: they agree first, then take turns under load while rows are posted."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from benchmarks import agreement, load
from benchmarks.agreement import Compared
from benchmarks.filling import Filled
from benchmarks.load import Run
from benchmarks.operations import ROOT, Operation
from benchmarks.postgresql import DatabaseProcesses
from benchmarks.servers import Server, ServerFailed, ServerKind, running

WARM_CONNECTIONS: Final = 8
COMPARED_REQUESTS: Final = 20
ROWS_A_SECOND: Final = 5.0

Case = tuple[str, str, int]
"""Operation, server, connections."""


@dataclass(frozen=True, slots=True)
class Plan:
    operations: Sequence[Operation]
    servers: Sequence[ServerKind]
    connections: Sequence[int]
    rounds: int
    seconds: int
    warm_seconds: int


@dataclass(frozen=True, slots=True)
class Measured:
    runs: dict[Case, list[Run]]
    compared: dict[tuple[str, str], Compared]
    """By operation and server."""
    peaks: dict[str, float]
    """MB by server."""

    def median(self, case: Case) -> Run:
        """The median of each figure over the rounds."""
        runs = self.runs[case]
        return Run(*(statistics.median(getattr(run, field.name) for run in runs) for field in fields(Run)))


@contextmanager
def _posting(filled: Filled) -> Iterator[None]:
    """Fails if the writer did."""
    command = (sys.executable, "-m", "benchmarks.writer", filled.url, str(filled.accounts), str(ROWS_A_SECOND))
    writer = subprocess.Popen(command, cwd=ROOT)
    try:
        yield
        if writer.poll() is not None:
            msg = f"the writer ended with status {writer.returncode}"
            raise ServerFailed(msg)
    finally:
        writer.terminate()
        writer.wait()


def _agreed(ours: Server, theirs: Server, operation: Operation) -> Compared:
    compared = Compared()
    for asked in operation.asked(ours.filled)[:COMPARED_REQUESTS]:
        mine, other = ours.answer(operation, asked), theirs.answer(operation, asked)
        if theirs.kind.exact:
            compared += agreement.to_the_letter(mine, other)
        else:
            compared += agreement.by_value(mine, other, theirs.kind.name)
    return compared


def compare(servers: Sequence[Server], operations: Sequence[Operation]) -> dict[tuple[str, str], Compared]:
    """Each with the first. Raises Disagreement."""
    ours, *others = servers
    return {
        (operation.name, theirs.kind.name): _agreed(ours, theirs, operation)
        for operation in operations
        for theirs in others
    }


def _in_turn(servers: Sequence[Server], turn: int) -> Sequence[Server]:
    first = turn % len(servers)
    return [*servers[first:], *servers[:first]]


class _Turns:
    """The runs of one operation on all servers."""

    def __init__(
        self, plan: Plan, servers: Sequence[Server], operation: Operation, database: DatabaseProcesses
    ) -> None:
        self._plan = plan
        self._servers = servers
        self._operation = operation
        self._database = database
        self._asked = operation.asked(servers[0].filled)
        self.runs: defaultdict[Case, list[Run]] = defaultdict(list)

    def _run(self, server: Server, connections: int, seconds: int) -> Run:
        return load.run(
            server,
            self._operation,
            self._asked,
            connections=connections,
            seconds=seconds,
            database=self._database,
        )

    def take(self) -> None:
        for server in self._servers:
            self._run(server, WARM_CONNECTIONS, self._plan.warm_seconds)
        for turn in range(self._plan.rounds):
            for connections in self._plan.connections:
                for server in _in_turn(self._servers, turn):
                    case = self._operation.name, server.kind.name, connections
                    self.runs[case].append(self._run(server, connections, self._plan.seconds))

    def lines(self) -> Iterator[str]:
        for (operation, server, connections), runs in self.runs.items():
            rate = statistics.median(run.rate for run in runs)
            yield f"{operation}, {connections} connections, {server}: {rate:,.0f} req/s"


def measure(
    plan: Plan, filled: Filled, folder: Path, database: DatabaseProcesses, say: Callable[[str], None]
) -> Measured:
    """Raises Disagreement or ServerFailed."""
    runs: dict[Case, list[Run]] = {}
    with ExitStack() as stack:
        servers = [stack.enter_context(running(kind, filled, folder / f"{kind.name}.log")) for kind in plan.servers]
        compared = compare(servers, plan.operations)
        stack.enter_context(_posting(filled))
        for operation in plan.operations:
            turns = _Turns(plan, servers, operation, database)
            turns.take()
            say("\n".join(turns.lines()))
            runs |= turns.runs
        peaks = {server.kind.name: server.peak_megabytes() for server in servers}
    return Measured(runs, compared, peaks)
