"""Cores, memory and disk for a load: a model on the figures of docs/benchmarks.md, which it reads.

    python -m benchmarks.capacity --pages 200 --posts 500 --subscribers 20000 --accounts 50000 --rows-a-day 2000000

CPU adds up: each call costs what was measured, whatever else runs, and a machine is filled to a share of its cores.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks import report
from benchmarks.operations import ROOT

BENCHMARKS: Final = ROOT / "docs" / "benchmarks.md"
GUIDE: Final = ROOT / "docs" / "capacity.md"

BUSY: Final = 0.6
"""Share of the cores that is used at the peak: the rest is for bursts, and for a process or machine that is lost."""
CONNECTIONS: Final = 8
BYTES_A_ROW: Final = 775
"""Heap and indexes of a ledger row on PostgreSQL, of 1,000,000 that were inserted with their indexes in place."""
MIB_A_PROCESS: Final = 130
CACHE_MIB: Final = 64
"""Documents that a process keeps, at most (BILLING_DOCUMENT_CACHE_BYTES)."""
DATABASE_CONNECTIONS: Final = 26
"""Of each gateway process: twice BILLING_POOL_SIZE, and six."""


@dataclass(frozen=True, slots=True)
class Load:
    """Calls each second at the peak, and what is kept."""

    pages: float
    """Billing pages that are opened."""
    more: float
    """Further pages of transactions."""
    posts: float
    """`openHold`, `settleHold`, or a batch of `recordUsage`."""
    events: float
    """Events that reach a subscriber."""
    subscribers: int
    rows_a_day: int


@dataclass(frozen=True, slots=True)
class Costs:
    """Milliseconds of CPU of the gateway and of the database, by call."""

    gateway: Mapping[str, float]
    database: Mapping[str, float]
    kib_a_subscriber: float


def _section(text: str, heading: str) -> str:
    return re.split(r"(?m)^#{1,3} ", text.split(f"{heading}\n", 1)[1])[0]


def _numbers(text: str, *cells: str) -> list[float]:
    """Returns the numbers of the first row that begins with these cells."""
    start = "| " + " | ".join(cells) + " |"
    line = next(line for line in text.splitlines() if line.startswith(start))
    return [float(cell.replace(",", "")) for cell in re.findall(r"\| ([\d.,]+) (?=\|)", line[len(start) - 1 :])]


def read_costs(text: str) -> Costs:
    """Returns the costs that the measured tables on PostgreSQL tell."""
    gateway, database = {}, {}
    for name in ("billing_page", "more_transactions"):
        *_, gateway[name], database[name] = _numbers(_section(text, f"### {name}"), str(CONNECTIONS), "gateway")
    for name in ("openHold", "recordUsage"):
        *_, microseconds, of_database = _numbers(text, f"{name}, 1,000 accounts")
        gateway[name], database[name] = microseconds / 1000, of_database / 1000
    event = _numbers(text, "one row at a time", "gateway")
    gateway["event"] = event[-2] / 1000
    return Costs(gateway, database, _numbers(text, "a subscriber of the gateway")[0])


def _cores(load: Load, costs: Mapping[str, float]) -> float:
    post = (costs["openHold"] + costs["recordUsage"]) / 2
    milliseconds = load.pages * costs["billing_page"] + load.more * costs["more_transactions"] + load.posts * post
    return (milliseconds + load.events * costs.get("event", 0)) / 1000 / BUSY


def _tenths(cores: float) -> str:
    return f"{math.ceil(cores * 10) / 10:.1f}"


def plan(load: Load, costs: Costs) -> list[tuple[str, str]]:
    """Returns what the load needs, by name."""
    gateway, database = _cores(load, costs.gateway), _cores(load, costs.database)
    processes = max(math.ceil(gateway), 2)
    mib = processes * (MIB_A_PROCESS + CACHE_MIB) + load.subscribers * costs.kib_a_subscriber / 1024
    return [
        ("cores of the gateways", _tenths(gateway)),
        ("gateway processes", str(processes)),
        ("memory of the gateways", f"{mib / 1024:.1f} GiB"),
        ("connections to the database", str(processes * DATABASE_CONNECTIONS)),
        ("cores of the database", _tenths(database)),
        ("growth of the ledger's tables", f"{load.rows_a_day * 365 * BYTES_A_ROW / 2**30:,.0f} GiB a year"),
    ]


EXAMPLES: Final = {
    "a first year": Load(pages=5, more=5, posts=50, events=200, subscribers=500, rows_a_day=100_000),
    "a thousand customers": Load(pages=50, more=100, posts=500, events=2_000, subscribers=10_000, rows_a_day=2_000_000),
    "past one server": Load(
        pages=500, more=1_000, posts=4_000, events=40_000, subscribers=100_000, rows_a_day=50_000_000
    ),
}


def table(costs: Costs) -> list[str]:
    """Returns the examples side by side, as Markdown."""
    loads = list(EXAMPLES.values())
    given = [
        ("Billing pages a second", [f"{load.pages:,g}" for load in loads]),
        ("further pages a second", [f"{load.more:,g}" for load in loads]),
        ("holds and batches of usage a second", [f"{load.posts:,g}" for load in loads]),
        ("events a second", [f"{load.events:,g}" for load in loads]),
        ("subscribers", [f"{load.subscribers:,}" for load in loads]),
        ("rows a day", [f"{load.rows_a_day:,}" for load in loads]),
    ]
    needs = [plan(load, costs) for load in loads]
    needed = [(f"**{name}**", [need[number][1] for need in needs]) for number, (name, _) in enumerate(needs[0])]
    lines = [report.row("", *EXAMPLES), report.row("---", *("---:" for _ in EXAMPLES))]
    return lines + [report.row(name, *cells) for name, cells in (*given, *needed)]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__.split("\n", 1)[0])
    for name, help_ in (
        ("pages", "Billing pages a second at the peak"),
        ("more", "further pages of transactions a second"),
        ("posts", "holds, settlements and batches of usage a second"),
        ("events", "events a second that reach a subscriber"),
    ):
        parser.add_argument(f"--{name}", type=float, default=0, help=help_)
    parser.add_argument("--subscribers", type=int, default=0, help="open subscriptions")
    parser.add_argument("--rows-a-day", type=int, default=0, help="rows of the ledger a day")
    parser.add_argument("--write-docs", action="store_true", help="write the examples to docs/capacity.md")
    given = parser.parse_args(arguments)
    costs = read_costs(BENCHMARKS.read_text())
    if given.write_docs:
        report.write_docs("capacity", table(costs), GUIDE)
        return
    load = Load(given.pages, given.more, given.posts, given.events, given.subscribers, given.rows_a_day)
    for name, need in plan(load, costs):
        print(f"{name:32} {need}")


if __name__ == "__main__":
    main(sys.argv[1:])
