"""Measures the gateway side by side with other ways to answer the same: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks import node, postgresql, report
from benchmarks.filling import Filled, copy_to_sqlite, fill
from benchmarks.measurement import Plan, measure
from benchmarks.operations import OPERATIONS
from benchmarks.report import Part
from benchmarks.servers import DEFAULT_NAMES, KINDS
from tests.postgres import Postgres, started

SQLITE_OPERATIONS: Final = frozenset(operation.name for operation in OPERATIONS) - {"several_accounts"}
"""The hand-written endpoint for several accounts needs arrays and LATERAL."""


@dataclass(frozen=True, slots=True)
class Options:
    operations: tuple[str, ...]
    servers: tuple[str, ...]
    databases: tuple[str, ...]
    connections: tuple[int, ...]
    rounds: int
    seconds: int
    warm_seconds: int
    rows: int
    accounts: int
    write_docs: bool


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _check_names(parser: argparse.ArgumentParser, given: Iterable[str], known: Iterable[str]) -> None:
    if unknown := set(given) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")


def _options() -> Options:
    every = tuple(operation.name for operation in OPERATIONS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--operations", type=_names, default=every, help=f"of {','.join(every)}")
    parser.add_argument("--servers", type=_names, default=DEFAULT_NAMES, help=f"of {','.join(k.name for k in KINDS)}")
    parser.add_argument("--databases", type=_names, default=("postgresql", "sqlite"))
    parser.add_argument("--connections", type=_numbers, default=(1, 8, 64))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of one run of wrk")
    parser.add_argument("--warm-seconds", type=int, default=2, help="before the first run of each operation")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=100)
    parser.add_argument(
        "--quick", action="store_true", help="8 connections and 1 round of 2 s, unless others are given"
    )
    parser.add_argument("--write-docs", action="store_true", help="write the tables into docs/benchmarks.md")
    if parser.parse_known_args()[0].quick:
        parser.set_defaults(connections=(8,), rounds=1, seconds=2, warm_seconds=1)
    given = vars(parser.parse_args())
    del given["quick"]
    options = Options(**given)
    _check_names(parser, options.operations, every)
    _check_names(parser, options.servers, [kind.name for kind in KINDS])
    _check_names(parser, options.databases, ["postgresql", "sqlite"])
    if options.rows // options.accounts < 2_000:
        parser.error("each account needs 2,000 rows: pages lie deep in its ledger")
    return options


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _plan(options: Options, database: str) -> Plan:
    names = options.operations
    if database == "sqlite":
        names = tuple(name for name in names if name in SQLITE_OPERATIONS)
    return Plan(
        operations=[operation for operation in OPERATIONS if operation.name in names],
        servers=[kind for kind in KINDS if kind.name in options.servers and database in kind.databases],
        connections=options.connections,
        rounds=options.rounds,
        seconds=options.seconds,
        warm_seconds=options.warm_seconds,
    )


async def _filled(server: Postgres, options: Options) -> Filled:
    url = server.url(await server.new_database())
    _say(f"filling {options.rows:,} rows over {options.accounts:,} accounts")
    return await fill(url, rows=options.rows, accounts=options.accounts)


def _part(options: Options, filled: Filled, name: str, folder: Path, postmaster: psutil.Process | None) -> Part:
    database = "sqlite" if postmaster is None else "postgresql"
    _say(f"measuring on {name}")
    plan = _plan(options, database)
    measured = measure(plan, filled, folder, postgresql.DatabaseProcesses(postmaster), _say)
    return Part(name, filled.rows, filled.accounts, plan, measured)


def _measured(options: Options, folder: Path) -> list[Part]:
    parts = []
    with started() as server:
        filled = asyncio.run(_filled(server, options))
        if "postgresql" in options.databases:
            name = asyncio.run(postgresql.version(filled.url))
            parts.append(_part(options, filled, name, folder, postgresql.postmaster(server)))
        if "sqlite" in options.databases:
            filled = asyncio.run(copy_to_sqlite(filled, folder / "billing.db"))
    if "sqlite" in options.databases:
        parts.append(_part(options, filled, f"SQLite {sqlite3.sqlite_version}", folder, None))
    return parts


def main() -> None:
    options = _options()
    if "postgraphile" in options.servers and "postgresql" in options.databases:
        node.install()
    with tempfile.TemporaryDirectory(prefix="billing-bench-") as folder:
        parts = _measured(options, Path(folder))
    lines = list(report.head(parts))
    for part in parts:
        lines += ["", *report.tables(part)]
    print("\n".join(lines))
    if options.write_docs:
        report.write_docs("measured", lines)


if __name__ == "__main__":
    main()
