"""The printed tables, in Markdown."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import geometric_mean
from typing import Final

import orjson
import psutil

from benchmarks import node
from benchmarks.measurement import ROWS_A_SECOND, Measured, Plan
from benchmarks.operations import ROOT

_DOCS: Final = ROOT / "docs" / "benchmarks.md"
GATEWAY: Final = "gateway"
POSTGRAPHILE: Final = "postgraphile"
REFERENCES: Final = (POSTGRAPHILE, "handwritten", "sql")


@dataclass(frozen=True, slots=True)
class Part:
    """The measurement on one database."""

    database: str
    """Its name and version."""
    rows: int
    accounts: int
    plan: Plan
    measured: Measured

    @property
    def names(self) -> list[str]:
        return [kind.name for kind in self.plan.servers]

    def rate(self, operation: str, server: str, connections: int) -> float:
        return self.measured.median((operation, server, connections)).rate


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _ratio(part: Part, operation: str, server: str, reference: str, connections: int) -> str:
    if reference not in part.names:
        return ""
    return f"{part.rate(operation, server, connections) / part.rate(operation, reference, connections):.2f}"


def _references(part: Part) -> list[str]:
    return [name for name in REFERENCES if name in part.names]


def _figures(part: Part, operation: str) -> Iterator[str]:
    references = _references(part)
    yield row(
        "connections", "server", "req/s", *(f"÷ {name}" for name in references), "p50 ms", "p99 ms", "server CPU ms",
        "database CPU ms",
    )  # fmt: skip
    yield row("---:", "---", *("---:" for _ in range(len(references) + 5)))
    for connections in part.plan.connections:
        for server in part.names:
            run = part.measured.median((operation, server, connections))
            yield row(
                connections,
                server,
                f"{run.rate:,.0f}",
                *(_ratio(part, operation, server, name, connections) for name in references),
                f"{run.median_ms:.1f}",
                f"{run.p99_ms:.1f}",
                f"{run.server_cpu_ms:.2f}",
                f"{run.database_cpu_ms:.2f}" if run.database_cpu_ms else "in the server's",
            )


def _summary(part: Part) -> Iterator[str]:
    """The gateway against each reference, over the operations."""
    if GATEWAY not in part.names or not _references(part):
        return
    names = [operation.name for operation in part.plan.operations]
    yield row("gateway ÷", "connections", *names, "geometric mean", "least")
    yield row("---", *("---:" for _ in range(len(names) + 3)))
    for reference in _references(part):
        for connections in part.plan.connections:
            ratios = [part.rate(name, GATEWAY, connections) / part.rate(name, reference, connections) for name in names]
            yield row(
                reference,
                connections,
                *(f"{ratio:.2f}" for ratio in ratios),
                f"**{geometric_mean(ratios):.2f}**",
                f"{min(ratios):.2f}",
            )


def _agreement(part: Part) -> Iterator[str]:
    others = [name for name in part.names if name != part.names[0]]
    if not others:
        return
    yield row("values alike (left out)", *others)
    yield row("---", *("---:" for _ in others))
    for operation in part.plan.operations:
        found = [part.measured.compared[operation.name, name] for name in others]
        yield row(operation.name, *(f"{one.alike:,} ({one.left_out:,})" for one in found))


def tables(part: Part) -> Iterator[str]:
    yield f"## {part.database}, {part.rows:,} rows over {part.accounts:,} accounts"
    yield ""
    yield from _summary(part)
    for operation in part.plan.operations:
        yield ""
        yield f"### {operation.name}"
        yield ""
        yield f"{operation.title}."
        if operation.left_out and POSTGRAPHILE in part.names:
            yield f"PostGraphile leaves out {operation.left_out}."
        yield ""
        yield from _figures(part, operation.name)
    yield ""
    yield "Peak memory: " + ", ".join(f"{name} {peak:,.0f} MB" for name, peak in part.measured.peaks.items()) + "."
    yield ""
    yield from _agreement(part)


def _lines_of(command: Sequence[str]) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


def _postgraphile_version() -> str:
    package = node.FOLDER / "package.json"
    return str(orjson.loads(package.read_bytes())["dependencies"]["postgraphile"])


def _versions(names: set[str]) -> Iterator[str]:
    yield f"{platform.python_implementation()} {platform.python_version()}"
    for name in ("strawberry-graphql", "graphql-core", "aiohttp", "asyncpg", "SQLAlchemy", "orjson", "uvloop"):
        yield f"{name} {version(name)}"
    if POSTGRAPHILE in names:
        (node_version,) = _lines_of((str(node.node()), "--version"))
        yield f"PostGraphile {_postgraphile_version()} on Node.js {node_version.removeprefix('v')}"
    yield " ".join(_lines_of(("wrk", "--version"))[0].split()[:2])


def machine(sharing: str, databases: Sequence[str], names: set[str]) -> Iterator[str]:
    """When, on what, and of which versions. `sharing` says who shares the cores."""
    gigabytes = psutil.virtual_memory().total / 2**30
    yield (
        f"{datetime.now(UTC):%Y-%m-%d}, {psutil.cpu_count()} cores shared by {sharing},"
        f" {gigabytes:.0f} GB, {platform.system()} on {platform.machine()}."
    )
    yield f"{', '.join(_versions(names))}; {', '.join(databases)}."


def write_docs(section: str, lines: Sequence[str], page: Path = _DOCS) -> None:
    """Writes between the section's marks in docs/benchmarks.md, or on another page. People write what stands around
    them."""
    begin, end = f"<!-- {section}: begin -->\n", f"<!-- {section}: end -->\n"
    before, first, rest = page.read_text().partition(begin)
    _, last, after = rest.partition(end)
    assert first, f"{page} has lost the mark of {section}"
    assert last, f"{page} has lost the end of {section}"
    page.write_text(before + begin + "\n" + "\n".join(lines) + "\n\n" + end + after)


def head(parts: Sequence[Part]) -> Iterator[str]:
    plan = parts[0].plan
    names = {name for part in parts for name in part.names}
    yield from machine("the server, the database, the writer and wrk", [part.database for part in parts], names)
    yield (
        f"Medians of {plan.rounds} rounds of {plan.seconds:g} s in which the servers take turns; one process each;"
        f" {ROWS_A_SECOND:g} rows a second are posted all the while. Ratios are of requests a second. CPU is per"
        " request; the database's is of all its processes."
    )
