"""What do subscribers cost, how soon do they know, and how many events a second does one process send?

    python -m benchmarks.subscriptions [--subscribers N] [--accounts N] [--seconds S] [--rounds N] [--write-docs]

One gateway process on PostgreSQL, WebSockets throughout; the subscribers live in a process of their own
(`crowd.py`). A bare aiohttp server (`peers/sockets.py`) holds as many sockets, and sends the same bytes to as many in
turn with the gateway.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import following, postgresql, report
from benchmarks.filling import fill
from benchmarks.following import Delays, Sent, Stage, percentile
from benchmarks.servers import Server, running
from tests.postgres import started

ROWS_OF_ONE: Final = 10
SPARE_FILES: Final = 500
BURSTS: Final = {
    "one row at a time": (1, 60),
}
"""Rows that are posted in one transaction, and how many times in a round."""

Turns = dict[str, list[tuple[Sent, Sent]]]
"""What the gateway and the bare server sent, by burst."""


@dataclass(frozen=True, slots=True)
class Options:
    subscribers: int
    accounts: int
    followers: int
    seconds: float
    rounds: int
    write_docs: bool


@dataclass(frozen=True, slots=True)
class Waited:
    """Many subscribers of many accounts."""

    ours_bytes: float
    """Of memory, each."""
    bare_bytes: float
    delays: Delays


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _waited(gateway: Server, sockets: Server, options: Options) -> Waited:
    keys = [gateway.filled.account_keys[number % options.accounts] for number in range(options.subscribers)]
    with ExitStack() as stack:
        crowd, ours_bytes = following.gathered(gateway, keys, stack)
        _say(f"{ours_bytes / 1024:.1f} KiB a subscriber")
        delays = following.delays(
            gateway, crowd, accounts=options.accounts, subscribers=options.subscribers, seconds=options.seconds
        )
        _say(f"delay {percentile(delays.events_ms, 50):.1f} ms, p99 {percentile(delays.events_ms, 99):.1f} ms")
    with ExitStack() as stack:
        _, bare_bytes = following.gathered(sockets, keys, stack)
        _say(f"{bare_bytes / 1024:.1f} KiB a bare socket")
    return Waited(ours_bytes, bare_bytes, delays)


def _turns(gateway: Server, sockets: Server, options: Options) -> Turns:
    turns: Turns = {name: [] for name in BURSTS}
    with ExitStack() as stack:
        stage = Stage(gateway, sockets, options.followers, stack)
        for number in range(options.rounds + 1):
            for name, (rows, times) in BURSTS.items():
                ours, bare = stage.turn(rows, times)
                if number:  # the first one warms
                    turns[name].append((ours, bare))
                _say(f"{name}: {ours.rate:,.0f} events a second by the gateway, {bare.rate:,.0f} by bare sockets")
    return turns


def _measured(options: Options) -> Iterator[str]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="billing-bench-")))
        database = stack.enter_context(started())
        url = database.url(asyncio.run(database.new_database()))
        _say(f"filling {options.accounts:,} accounts")
        filled = asyncio.run(fill(url, rows=options.accounts * ROWS_OF_ONE, accounts=options.accounts))
        version = asyncio.run(postgresql.version(url))
        gateway = stack.enter_context(running(following.GATEWAY, filled, folder / "gateway.log"))
        sockets = stack.enter_context(running(following.SOCKETS, filled, folder / "sockets.log"))
        waited = _waited(gateway, sockets, options) if options.subscribers else None
        turns = _turns(gateway, sockets, options) if options.followers else {}
    yield from report.machine("the server, the database, the writer and the subscribers", [version], {"gateway"})
    if waited is not None:
        yield from _waited_tables(options, waited)
    if turns:
        yield from _turns_table(options, turns)


def _waited_tables(options: Options, waited: Waited) -> Iterator[str]:
    beyond, delays = waited.ours_bytes - waited.bare_bytes, waited.delays
    yield ""
    yield f"{options.subscribers:,} subscribers over {options.accounts:,} accounts:"
    yield ""
    yield report.row("memory of each", "KiB")
    yield report.row("---", "---:")
    yield report.row("a subscriber of the gateway", f"{waited.ours_bytes / 1024:.1f}")
    yield report.row("a socket of bare aiohttp", f"{waited.bare_bytes / 1024:.1f}")
    yield report.row("beyond the socket's own", f"**{beyond / 1024:.1f}**")
    yield ""
    yield report.row("ms from `createdAt` until", "median", "p90", "p99", "longest")
    yield report.row("---", *("---:" for _ in range(4)))
    yield _delays_row("the writer knows of the commit", delays.commits_ms)
    yield _delays_row("a subscriber has the event", delays.events_ms)
    yield ""
    yield (
        f"{delays.rate:,.0f} rows and {delays.rate * options.subscribers / options.accounts:,.0f} events a second; "
        f"the gateway kept {delays.cores:.2f} cores busy."
    )


def _delays_row(name: str, values_ms: Sequence[float]) -> str:
    return report.row(name, *(f"{percentile(values_ms, percent):.1f}" for percent in (50, 90, 99, 100)))


def _median(sent: Sequence[Sent]) -> Sent:
    return Sent(*(statistics.median(getattr(one, name) for one in sent) for name in Sent.__slots__))


def _turns_table(options: Options, turns: Turns) -> Iterator[str]:
    yield ""
    yield f"{options.followers:,} subscribers of one account:"
    yield ""
    yield report.row("posted", "server", "events/s", "÷ bare", "CPU µs an event", "÷ bare")
    yield report.row("---", "---", "---:", "---:", "---:", "---:")
    for name, sent in turns.items():
        ours, bare = (_median(one) for one in zip(*sent, strict=True))
        rates, cpus = f"**{ours.rate / bare.rate:.2f}**", f"{ours.cpu_us / bare.cpu_us:.2f}"
        yield report.row(name, "gateway", f"{ours.rate:,.0f}", rates, f"{ours.cpu_us:.1f}", cpus)
        yield report.row(name, "bare aiohttp", f"{bare.rate:,.0f}", "", f"{bare.cpu_us:.1f}", "")


def _raise_file_limit(files: int) -> None:
    """Of this process and those that it starts: each connection is an open file at both of its ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < files <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.subscriptions", description="Measure subscriptions.")
    parser.add_argument("--subscribers", type=int, default=10_000, help="of all accounts; 0 leaves them out")
    parser.add_argument("--accounts", type=int, default=1_000)
    parser.add_argument("--followers", type=int, default=5_000, help="of one account; 0 leaves them out")
    parser.add_argument("--seconds", type=float, default=20, help="in which rows are posted")
    parser.add_argument("--rounds", type=int, default=5, help="of rows that go to all followers of one account")
    parser.add_argument("--write-docs", action="store_true", help="write the tables into docs/benchmarks.md")
    options = Options(**vars(parser.parse_args()))
    if options.subscribers % options.accounts:
        parser.error("each account needs as many subscribers as the others")
    files = max(options.subscribers, options.followers) + SPARE_FILES
    _raise_file_limit(files)
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < files:
        parser.error(f"needs {files:,} open files a process: ulimit -n")
    return options


def main() -> None:
    options = _options()
    lines = list(_measured(options))
    print("\n".join(lines))
    if options.write_docs:
        report.write_docs("subscriptions", lines)


if __name__ == "__main__":
    main()
