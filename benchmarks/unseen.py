"""Documents that no server has seen before, and introspection: the gateway and PostGraphile in turn.

    python -m benchmarks.unseen [--rows N] [--documents N] [--rounds N] [--seed N] [--write-docs]

Each document is asked for once, on one connection: fields in random order, with pages of random length. Both servers
get the same ones, each in its own dialect, and their answers are compared.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
from graphql import get_introspection_query

from benchmarks import agreement, node, postgresql, report
from benchmarks.filling import Filled, fill
from benchmarks.servers import KINDS, Server, ServerFailed, running
from tests.postgres import started

ACCOUNTS: Final = 10
COMPARED: Final = 20

_ACCOUNT: Final = (("name", ""), ("currency", ""), ("status", ""), ("balance", "balanceNanos"))
_TRANSACTION: Final = (
    *(("createdAt", ""), ("type", ""), ("amount", "amountNanos"), ("balanceAfter", "balanceAfterNanos")),
    *(("description", ""), ("source", ""), ("refType", ""), ("refId", "")),
)
_USAGE: Final = (("day", ""), ("model", ""), ("category", ""), ("origin", ""), ("calls", ""), ("cost", "costNanos"))
"""Fields by their names here and in PostGraphile, where those differ."""
_LISTS: Final = (
    ("transactions", "transactionsByAccountId", _TRANSACTION),
    ("usage", "usageDaysByAccountId", _USAGE),
)

Dialects = tuple[str, str]
"""The same in the gateway's dialect and in PostGraphile's."""


class Asked(NamedTuple):
    account: int
    texts: Dialects


def _some(choices: random.Random, fields: Sequence[Dialects]) -> Dialects:
    chosen = choices.sample(fields, choices.randint(1, len(fields)))
    return " ".join(ours for ours, _ in chosen), " ".join(f"{a}: {b}" if b else a for a, b in chosen)


def _list(choices: random.Random, names: Dialects, fields: Sequence[Dialects]) -> Dialects:
    first = choices.randint(1, 20)
    ours, theirs = _some(choices, fields)
    alias = f"{names[0]}: {names[1]}(first: {first}, orderBy: PRIMARY_KEY_DESC)"
    return f"{names[0]}(first: {first}) {{ nodes {{ {ours} }} }}", f"{alias} {{ nodes {{ {theirs} }} }}"


def asked(seed: int, number: int) -> Asked:
    """Returns the document of that number. Its operation's name makes it another one than all others."""
    choices = random.Random(f"{seed} {number}")
    account = choices.randint(1, ACCOUNTS)
    parts = [_some(choices, _ACCOUNT)]
    parts += [_list(choices, (ours, theirs), fields) for ours, theirs, fields in _LISTS if choices.random() < 0.8]
    choices.shuffle(parts)
    ours, theirs = (" ".join(one) for one in zip(*parts, strict=True))
    name = f"query Unseen{seed}_{number}"
    return Asked(
        account,
        (
            f'{name} {{ account(id: "acct_{account}") {{ {ours} }} }}',
            f'{name} {{ account: accountByRowId(rowId: "{account}") {{ {theirs} }} }}',
        ),
    )


class Client:
    """One connection to one server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self._dialect = 0 if server.kind.name == "gateway" else 1

    def text(self, one: Asked) -> str:
        return one.texts[self._dialect]

    def connect_anew(self) -> None:
        """Servers close connections that wait while another one has its turn."""
        self._connection.close()
        self._connection.connect()

    def data(self, account: int, text: str) -> Any:
        """Raises ServerFailed."""
        key = self.server.filled.account_keys[account - 1]
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._connection.request("POST", "/graphql", orjson.dumps({"query": text}), headers)
        response = self._connection.getresponse()
        answer = orjson.loads(response.read())
        if response.status != 200 or "errors" in answer:
            msg = f"{self.server.kind.name}: {response.status} {str(answer)[:1000]}"
            raise ServerFailed(msg)
        return answer["data"]


class Figures(NamedTuple):
    median_ms: float
    p99_ms: float
    cpu_ms: float
    """Of the server's process, a request."""


def _measured(client: Client, requests: Sequence[tuple[int, str]]) -> Figures:
    client.connect_anew()
    before, times = client.server.cpu_seconds(), []
    for account, text in requests:
        began = time.perf_counter()
        client.data(account, text)
        times.append((time.perf_counter() - began) * 1e3)
    cpu = (client.server.cpu_seconds() - before) / len(requests) * 1e3
    return Figures(statistics.median(times), statistics.quantiles(times, n=100)[98], cpu)


def _compare(clients: Sequence[Client], seed: int) -> None:
    """Raises Disagreement."""
    for number in range(COMPARED):
        one = asked(seed, 10**6 + number)
        mine, other = (client.data(one.account, client.text(one)) for client in clients)
        agreement.by_value(mine, other, "postgraphile")


def _turns(
    clients: Sequence[Client], rounds: int, requests: Callable[[Client, int], list[tuple[int, str]]]
) -> Iterator[tuple[str, Figures]]:
    """The medians over the rounds, in which the servers take turns."""
    runs = [[_measured(client, requests(client, turn)) for client in clients] for turn in range(rounds)]
    for client, figures in zip(clients, zip(*runs, strict=True), strict=True):
        yield client.server.kind.name, Figures(*map(statistics.median, zip(*figures, strict=True)))


def _lines(clients: Sequence[Client], options: argparse.Namespace) -> Iterator[str]:
    def unseen(client: Client, turn: int) -> list[tuple[int, str]]:
        documents = (asked(options.seed, turn * options.documents + number) for number in range(options.documents))
        return [(one.account, client.text(one)) for one in documents]

    def introspection(_client: Client, _turn: int) -> list[tuple[int, str]]:
        return [(1, get_introspection_query())] * options.documents

    yield report.row("asked", "server", "p50 ms", "p99 ms", "server CPU ms")
    yield report.row("---", "---", "---:", "---:", "---:")
    for name, requests in (("a document never seen", unseen), ("introspection", introspection)):
        for server, figures in _turns(clients, options.rounds, requests):
            yield report.row(name, server, *(f"{one:.2f}" for one in figures))


def _filled(server: Any, rows: int) -> Filled:
    return asyncio.run(fill(server.url(asyncio.run(server.new_database())), rows=rows, accounts=ACCOUNTS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--documents", type=int, default=500, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/benchmarks.md")
    options = parser.parse_args()
    node.install()
    kinds = [kind for kind in KINDS if kind.name in {"gateway", "postgraphile"}]
    with tempfile.TemporaryDirectory(prefix="billing-bench-") as folder, ExitStack() as stack:
        server = stack.enter_context(started())
        filled = _filled(server, options.rows)
        servers = [stack.enter_context(running(kind, filled, Path(folder) / f"{kind.name}.log")) for kind in kinds]
        clients = [Client(one) for one in servers]
        _compare(clients, options.seed)
        database = asyncio.run(postgresql.version(filled.url))
        names = {kind.name for kind in kinds}
        lines = [
            *report.machine("the servers, the database and the client", [database], names),
            "",
            *_lines(clients, options),
        ]
    print("\n".join(lines), file=sys.stdout)
    if options.write_docs:
        report.write_docs("unseen", lines)


if __name__ == "__main__":
    main()
