"""Do totals by hour cost what their SQL costs, however much other accounts have used?

    python -m benchmarks.hour_totals [--rows 1000000] [--others 0,4] [--requests N] [--write-docs]

One throw-away PostgreSQL holds a database for each number of other accounts, in which every account has as many hour
rows, written hour by hour, so that the rows of an account lie apart. A gateway runs for each. `usageTotals` by day and
API key is asked for in turn with a plain GROUP BY of the same rows through asyncpg. Trust the
ratios, not the milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
import orjson

from benchmarks import filling, postgresql, report
from benchmarks.filling import Filled
from benchmarks.growth import Connection
from benchmarks.servers import KINDS, Server, running
from tests.postgres import Postgres, started

DAYS: Final = 365
KEYS: Final = 50
_HOURS: Final = DAYS * 24
# Hours are counted from 1970: 2025-11-01.
_FIRST_HOUR: Final = 20_393 * 24
_GATEWAY: Final = next(kind for kind in KINDS if kind.name == "gateway")

_FILL: Final = """
INSERT INTO usage_hours (account_id, hour, span_hours, model, category, origin, api_key, project, price_id, calls,
                         input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, units_nanos, cost_nanos)
SELECT account, $1::bigint + hour, 1, 'vendor/model-' || row % 4, 'chat', 'platform', 'key-' || row % $3::bigint,
       'project-' || row / $3::bigint, 0, 1 + drawn % 900, drawn % 700000, drawn % 7000, drawn % 90000, drawn % 9000, 0,
       drawn % 3000000
FROM (SELECT hour, account, row, hashint8extended(hour * 100000 + account * 1000 + row, 3) & 9007199254740991 AS drawn
      FROM generate_series(0, $2::bigint - 1) AS hour, generate_series(1, $4::bigint) AS account,
           generate_series(0, $5::bigint - 1) AS row) AS placed
ORDER BY hour, account
"""
_ALONE: Final = """
SELECT hour / 24 AS day, api_key, sum(calls), sum(input_tokens), sum(cached_input_tokens), sum(output_tokens),
       sum(reasoning_tokens), sum(units_nanos), sum(cost_nanos) AS cost
FROM usage_hours WHERE account_id = $1 GROUP BY 1, 2 ORDER BY 1 DESC, cost DESC LIMIT $2
"""
_FIGURES: Final = "calls inputTokens cachedInputTokens outputTokens reasoningTokens units cost"
_DOCUMENT: Final = (
    "query ($first: Int, $zone: String, $by: [UsageDimension!]) { account { usageTotals(first: $first, timeZone: $zone,"
    f" groupBy: $by) {{ nodes {{ day apiKeyId {_FIGURES} shareOfCost }} totalCount totals {{ {_FIGURES} }} }} }} }}"
)
_CASES: Final = {
    "day and key": {"by": ["DAY", "API_KEY"], "zone": "UTC"},
    "day and key, Los Angeles": {"by": ["DAY", "API_KEY"], "zone": "America/Los_Angeles"},
    "month and key": {"by": ["MONTH", "API_KEY"], "zone": "UTC"},
}


@dataclass(frozen=True, slots=True)
class Options:
    rows: int
    others: tuple[int, ...]
    requests: int
    groups: int
    write_docs: bool


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


async def _filled(server: Postgres, rows: int, others: int) -> Filled:
    _say(f"filling {rows:,} hour rows for each of {others + 1} accounts")
    url = server.url(await server.new_database())
    await filling.migrated(url)
    until = datetime.now(UTC).replace(microsecond=0)
    key = filling.new_key()
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET work_mem = '256MB'; SET session_replication_role = replica")
        await filling.insert_accounts(connection, others + 1, until)
        rows_an_hour = rows // _HOURS
        await connection.execute(_FILL, _FIRST_HOUR, _HOURS, KEYS, others + 1, rows_an_hour)
        await filling.insert_keys(connection, {key: 1})
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
    return Filled(url, rows_an_hour * _HOURS * (others + 1), others + 1, until, (key,), "", ())


Case = tuple[str, int]
"""A request and a number of other accounts."""


async def _alone(url: str, groups: int) -> float:
    """Returns the seconds of the SQL, prepared as the gateway's is."""
    connection = await asyncpg.connect(url, server_settings={"jit": "off", "timezone": "UTC"})
    try:
        statement = await connection.prepare(_ALONE)
        started_at = time.perf_counter()
        found = await statement.fetch(1, groups)
        seconds = time.perf_counter() - started_at
    finally:
        await connection.close()
    assert len(found) == groups, "the page is full"
    return seconds


def _variables(case: str, groups: int) -> dict[str, Any]:
    return {**_CASES[case], "first": groups}


def _check(answer: bytes, groups: int) -> None:
    found = orjson.loads(answer)["data"]["account"]["usageTotals"]
    assert len(found["nodes"]) == min(groups, int(found["totalCount"])), "the page is full"


def _asked(server: Server, case: str, groups: int) -> float:
    """Returns the seconds of an answer. The connection is new, because the gateway closes those that are idle."""
    connection = Connection(server)
    try:
        seconds, answer = connection.ask(connection.request(_DOCUMENT, _variables(case, groups)))
    finally:
        connection.close()
    _check(answer, groups)
    return seconds


def _took(servers: dict[int, Server], options: Options) -> dict[Case, list[float]]:
    """The first round warms and is not counted."""
    took: defaultdict[Case, list[float]] = defaultdict(list)
    for _ in range(options.requests + 1):
        for others, server in servers.items():
            took["SQL alone", others].append(asyncio.run(_alone(server.filled.url, options.groups)))
            for case in _CASES:
                took[case, others].append(_asked(server, case, options.groups))
    return {case: seconds[1:] for case, seconds in took.items()}


def _table(took: dict[Case, list[float]], options: Options) -> Iterator[str]:
    medians = {case: statistics.median(seconds) * 1_000 for case, seconds in took.items()}
    yield report.row("median ms", *(f"{others} other accounts" for others in options.others), "÷ SQL alone")
    yield report.row("---", *("---:" for _ in options.others), "---:")
    for name in ("SQL alone", *_CASES):
        ratios = [f"{medians[name, others] / medians['SQL alone', others]:.2f}" for others in options.others]
        yield report.row(name, *(f"{medians[name, others]:,.0f}" for others in options.others), ", ".join(ratios))


def _measured(options: Options) -> Iterator[str]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="billing-bench-")))
        database = stack.enter_context(started())
        filled = {others: asyncio.run(_filled(database, options.rows, others)) for others in options.others}
        servers = {
            others: stack.enter_context(running(_GATEWAY, one, folder / f"{others}.log"))
            for others, one in filled.items()
        }
        _say("asking for totals")
        took = _took(servers, options)
        version = asyncio.run(postgresql.version(filled[options.others[0]].url))
        yield from report.machine("the server, the database and the client", [version], {"gateway"})
    yield (
        f"`usageTotals` of an account with {options.rows:,} hour rows, {KEYS} keys and {DAYS} days: the first"
        f" {options.groups} groups with the totals, medians of {options.requests} requests, in turn with a GROUP BY by"
        " day and key through asyncpg. Each other account has as many rows."
    )
    yield ""
    yield from _table(took, options)


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hour_totals", description="Measure totals by hour.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="hour rows of each account")
    parser.add_argument(
        "--others",
        type=lambda text: tuple(map(int, text.split(","))),
        default=(0, 4),
        help="numbers of other accounts",
    )
    parser.add_argument("--requests", type=int, default=10, help="for each case")
    parser.add_argument("--groups", type=int, default=50, help="groups of a page")
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/benchmarks.md")
    options = Options(**vars(parser.parse_args()))
    if options.rows < _HOURS * KEYS:
        parser.error(f"needs {_HOURS * KEYS:,} rows, so that each key has some in each hour")
    return options


def main() -> None:
    options = _options()
    lines = list(_measured(options))
    print("\n".join(lines))
    if options.write_docs:
        report.write_docs("hour totals", lines)


if __name__ == "__main__":
    main()
