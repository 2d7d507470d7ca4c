"""Does what a customer waits for grow with the ledger?

    python -m benchmarks.growth [--rows 10000,1000000,10000000] [--requests N] [--write-docs]

One throw-away PostgreSQL holds a database of each size, in which account 1 has half of all rows; a gateway runs for
each. The rows are made by statements of SQL, with the indexes built afterwards. Pages are asked for one after the
other on one connection, in turns: a few of one page and size, then of the next, so that a busy machine slows all of
them alike. Then the whole ledger of account 1 is exported, in turn with a COPY of the same rows and columns that
prints nothing. Trust the ratios, not the milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import socket
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import orjson

from benchmarks import postgresql, report
from benchmarks.filling import Filled, fill
from benchmarks.operations import OPERATIONS
from benchmarks.servers import KINDS, Server, ServerFailed, reset_peak, running
from db.rows import TransactionRow
from resolvers.cursors import CursorKind, CursorWriter
from tests.postgres import Postgres, started

BIG: Final = 1
"""The account with half of all rows."""
PAGE_ROWS: Final = 50
WARM_REQUESTS: Final = 50
TURN_REQUESTS: Final = 10
_GATEWAY: Final = next(kind for kind in KINDS if kind.name == "gateway")
_BILLING_PAGE, _MORE = (
    next(operation.document for operation in OPERATIONS if operation.name == name)
    for name in ("billing_page", "more_transactions")
)
_EXPORT_PATH: Final = "/billing/transactions.csv"
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Options:
    rows: tuple[int, ...]
    accounts: int
    requests: int
    exports: int
    write_docs: bool


def _big_rows(filled: Filled) -> int:
    """Position 0 is the big account's."""
    return (filled.rows + 1) // 2


def _page_variables(filled: Filled, number: int) -> dict[str, Any] | None:
    """Of a page counted from the newest row; None where no row is older than that page."""
    after = _big_rows(filled) - (number - 1) * PAGE_ROWS + 1
    if after <= PAGE_ROWS + 1:
        return None
    cursor = CursorWriter(CursorKind.LEDGER, BIG).of_seq(after) if number > 1 else None
    return {"account": f"acct_{BIG}", "after": cursor, "first": PAGE_ROWS}


def _last_page_variables(_filled: Filled) -> dict[str, Any]:
    """The oldest rows, which fill the page."""
    return {
        "account": f"acct_{BIG}",
        "after": CursorWriter(CursorKind.LEDGER, BIG).of_seq(PAGE_ROWS + 1),
        "first": PAGE_ROWS,
    }


_PAGES: Final = (
    ("Billing page", _BILLING_PAGE, lambda _filled: {"account": f"acct_{BIG}"}),
    ("page 1", _MORE, lambda filled: _page_variables(filled, 1)),
    ("page 1,000", _MORE, lambda filled: _page_variables(filled, 1_000)),
    ("last page", _MORE, _last_page_variables),
)


class Connection:
    """One that stays open; nothing but the socket is between the clock and the server."""

    def __init__(self, server: Server) -> None:
        self._key = server.filled.account_keys[BIG - 1]
        self._socket = socket.create_connection(("127.0.0.1", server.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def request(self, document: str, variables: dict[str, Any]) -> bytes:
        body = orjson.dumps({"query": document, "variables": variables})
        head = (
            "POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {self._key}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def ask(self, request: bytes) -> tuple[float, bytes]:
        """Seconds, and the body. Raises ServerFailed for anything but a whole answer."""
        started_at = time.perf_counter()
        self._socket.sendall(request)
        answer = b""
        head = missing = -1
        while head < 0 or missing > 0:
            read = self._socket.recv(_READ_BYTES)
            if not read:
                raise ServerFailed("the connection was closed")
            answer += read
            head = answer.find(b"\r\n\r\n")
            if head >= 0:
                missing = head + 4 + _content_length(answer[:head]) - len(answer)
        seconds = time.perf_counter() - started_at
        if not answer.startswith(b"HTTP/1.1 200") or b'"errors"' in answer:
            raise ServerFailed(answer[:1000].decode(errors="replace"))
        return seconds, answer[head + 4 :]


def _content_length(head: bytes) -> int:
    (line,) = (line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return int(line.split(b":")[1])


_BYTES: Final = "SELECT pg_total_relation_size('transactions'), pg_indexes_size('transactions')"


@dataclass(frozen=True, slots=True)
class Ledger:
    filled: Filled
    seconds: float
    """Of filling, with the indexes, figures of months and VACUUM ANALYZE."""
    size: int
    """Bytes of the table of transactions, with its indexes."""
    index_size: int


Case = tuple[str, int]
"""A page and a size."""


@dataclass(frozen=True, slots=True)
class Exported:
    rows: int
    seconds: tuple[float, ...]
    copy_seconds: tuple[float, ...]
    before_megabytes: float
    peak_megabytes: float

    @property
    def rate(self) -> float:
        return self.rows / statistics.median(self.seconds)

    @property
    def copy_rate(self) -> float:
        return self.rows / statistics.median(self.copy_seconds)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _check_page(answer: bytes, *, more: bool) -> None:
    page = orjson.loads(answer)["data"]["account"]["transactions"]
    assert len(page["edges"]) == PAGE_ROWS, "a page that is measured is full"
    assert page["pageInfo"]["hasNextPage"] is more, "the last page is the last"


def _requests(connections: dict[int, Connection], filled: Sequence[Filled]) -> dict[Case, bytes]:
    """Each is asked once, to see that it is the page that it is meant to be, and then to warm the server."""
    found = {}
    for one in filled:
        connection = connections[one.rows]
        for name, document, variables_of in _PAGES:
            variables = variables_of(one)
            if variables is None:
                continue
            request = connection.request(document, variables)
            _check_page(connection.ask(request)[1], more=name != "last page")
            for _ in range(WARM_REQUESTS):
                connection.ask(request)
            found[name, one.rows] = request
    return found


def _latencies(servers: Sequence[Server], requests: int) -> dict[Case, float]:
    """Median milliseconds."""
    took: defaultdict[Case, list[float]] = defaultdict(list)
    connections = {server.filled.rows: Connection(server) for server in servers}
    try:
        wanted = list(_requests(connections, [server.filled for server in servers]).items())
        for turn in range(requests // TURN_REQUESTS):
            first = turn % len(wanted)
            for case, request in wanted[first:] + wanted[:first]:
                connection = connections[case[1]]
                connection.ask(request)  # which brings its own server back into the processor's caches
                took[case] += (connection.ask(request)[0] for _ in range(TURN_REQUESTS))
    finally:
        for connection in connections.values():
            connection.close()
    return {case: statistics.median(seconds) * 1000 for case, seconds in took.items()}


def _export(server: Server) -> tuple[float, int]:
    """Seconds and rows."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    buffer = bytearray(_READ_BYTES)
    lines = 0
    started_at = time.perf_counter()
    try:
        headers = {"Authorization": f"Bearer {server.filled.account_keys[BIG - 1]}"}
        connection.request("GET", _EXPORT_PATH, headers=headers)
        response = connection.getresponse()
        if response.status != 200:
            raise ServerFailed(response.read(1000).decode(errors="replace"))
        while size := response.readinto(buffer):
            lines += buffer.count(b"\n", 0, size)
    finally:
        connection.close()
    return time.perf_counter() - started_at, lines - 1


async def _copy(url: str) -> float:
    """Seconds of COPY to nowhere: the same rows and columns in the same order, as PostgreSQL prints them."""
    connection = await asyncpg.connect(url, server_settings={"jit": "off", "timezone": "UTC"})
    query = f"SELECT {', '.join(TransactionRow._fields)} FROM transactions WHERE account_id = {BIG} ORDER BY seq"
    try:
        started_at = time.perf_counter()
        await connection.copy_from_query(query, output="/dev/null", format="csv")
        return time.perf_counter() - started_at
    finally:
        await connection.close()


def _exported(server: Server, times: int) -> Exported:
    filled = server.filled
    asyncio.run(_copy(filled.url))  # warms
    reset_peak(server.process)
    before = server.peak_megabytes()
    took, copied = [], []
    for _ in range(times):
        seconds, rows = _export(server)
        if rows != _big_rows(filled):
            msg = f"{rows:,} rows were exported of {_big_rows(filled):,}"
            raise ServerFailed(msg)
        took.append(seconds)
        copied.append(asyncio.run(_copy(filled.url)))
    exported = Exported(_big_rows(filled), tuple(took), tuple(copied), before, server.peak_megabytes())
    _say(f"{filled.rows:,} rows: {exported.rate:,.0f} rows a second exported, {exported.copy_rate:,.0f} by COPY")
    return exported


def _pages_table(sizes: Sequence[int], took: dict[Case, float]) -> Iterator[str]:
    yield report.row("median ms", *(f"{size:,} rows" for size in sizes), "last size ÷ first")
    yield report.row("---", *("---:" for _ in sizes), "---:")
    for name, *_ in _PAGES:
        yield report.row(
            name,
            *(f"{took[name, size]:.2f}" if (name, size) in took else "no such page" for size in sizes),
            _ratio(took, (name, sizes[-1]), (name, sizes[0])),
        )
    for name in ("page 1,000", "last page"):
        yield report.row(f"{name} ÷ page 1", *(_ratio(took, (name, size), ("page 1", size)) for size in sizes), "")


def _ratio(took: dict[Case, float], one: Case, other: Case) -> str:
    return f"{took[one] / took[other]:.2f}" if one in took and other in took else ""


def _exports_table(exported: dict[int, Exported]) -> Iterator[str]:
    yield report.row("ledger", "exported rows", "rows/s", "COPY rows/s", "÷ COPY", "MB before", "peak MB")
    yield report.row(*("---:" for _ in range(7)))
    for size, one in exported.items():
        yield report.row(
            f"{size:,} rows",
            f"{one.rows:,}",
            f"{one.rate:,.0f}",
            f"{one.copy_rate:,.0f}",
            f"{one.rate / one.copy_rate:.2f}",
            f"{one.before_megabytes:,.0f}",
            f"{one.peak_megabytes:,.0f}",
        )


def _ledgers_table(ledgers: Sequence[Ledger]) -> Iterator[str]:
    yield report.row("ledger", "filled rows/s", "bytes a row", "of them indexes")
    yield report.row(*("---:" for _ in range(4)))
    for one in ledgers:
        rows = one.filled.rows
        per_row = f"{one.size / rows:,.0f}", f"{one.index_size / rows:,.0f}"
        yield report.row(f"{rows:,} rows", f"{rows / one.seconds:,.0f}", *per_row)


async def _ledger(server: Postgres, rows: int, accounts: int) -> Ledger:
    _say(f"filling {rows:,} rows, half of them of one of {accounts} accounts")
    url = server.url(await server.new_database())
    started_at = time.perf_counter()
    filled = await fill(url, rows=rows, accounts=accounts, half_to_the_first=True)
    seconds = time.perf_counter() - started_at
    connection = await asyncpg.connect(url)
    try:
        return Ledger(filled, seconds, *await connection.fetchrow(_BYTES))
    finally:
        await connection.close()


async def _ledgers(server: Postgres, options: Options) -> list[Ledger]:
    return [await _ledger(server, rows, options.accounts) for rows in options.rows]


def _measured(options: Options) -> Iterator[str]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="billing-bench-")))
        database = stack.enter_context(started())
        ledgers = asyncio.run(_ledgers(database, options))
        filled = [one.filled for one in ledgers]
        servers = [stack.enter_context(running(_GATEWAY, one, folder / f"{one.rows}.log")) for one in filled]
        _say("asking for pages")
        took = _latencies(servers, options.requests)
        _say("exporting")
        exported = {server.filled.rows: _exported(server, options.exports) for server in servers}
        version = asyncio.run(postgresql.version(filled[0].url))
        yield from report.machine("the server, the database and the client", [version], {"gateway"})
    yield (
        f"{options.accounts} accounts, one with half of the rows. Pages: {PAGE_ROWS} rows of that account, medians of"
        f" {options.requests} requests, one after the other on one connection, sizes and pages in turn. Exports:"
        f" medians of {options.exports}, in turn with COPY; memory is that of the one process."
    )
    yield ""
    yield from _pages_table(options.rows, took)
    yield ""
    yield from _exports_table(exported)
    yield ""
    yield from _ledgers_table(ledgers)


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description="Measure ledgers of many sizes.")
    parser.add_argument(
        "--rows",
        type=lambda text: tuple(map(int, text.split(","))),
        default=(10_000, 1_000_000, 10_000_000),
        help="of each ledger; 10,000,000 take 7 GB of disk",
    )
    parser.add_argument("--accounts", type=int, default=100)
    parser.add_argument("--requests", type=int, default=500, help="for each page of each size")
    parser.add_argument("--exports", type=int, default=3, help="of each size")
    parser.add_argument("--write-docs", action="store_true", help="write the tables into docs/benchmarks.md")
    options = Options(**vars(parser.parse_args()))
    if min(options.rows) < 4 * PAGE_ROWS or options.accounts < 2:
        parser.error(f"needs {4 * PAGE_ROWS} rows, for two pages, and 2 accounts")
    return options


def main() -> None:
    options = _options()
    lines = list(_measured(options))
    print("\n".join(lines))
    if options.write_docs:
        report.write_docs("growth", lines)


if __name__ == "__main__":
    main()
