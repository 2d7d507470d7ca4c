"""The servers that are measured: how each is started, and what each operation looks like to it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

import orjson
import psutil

from benchmarks import node
from benchmarks.filling import Filled
from benchmarks.operations import ROOT, Asked, Cursor, Operation
from benchmarks.peers import tutorial
from resolvers.cursors import CursorKind, CursorWriter
from tests.ports import free_port

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    key: str
    body: bytes


class ServerFailed(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Server:
    """One that runs."""

    kind: ServerKind
    port: int
    process: psutil.Popen
    filled: Filled
    cursor: Cursor

    def path(self, operation: Operation) -> str:
        return f"/{operation.name}" if self.kind.by_path else "/graphql"

    def request(self, operation: Operation, asked: Asked) -> Request:
        filled = self.filled
        key = filled.operator_key if operation.of_many else filled.account_keys[asked.account - 1]
        return Request(key, orjson.dumps(self.kind.body(operation, asked, filled, self.cursor)))

    def answer(self, operation: Operation, asked: Asked) -> Any:
        """The `data` of one request. Raises ServerFailed for anything but a whole answer."""
        request = self.request(operation, asked)
        return _post(f"http://127.0.0.1:{self.port}{self.path(operation)}", request)

    def peak_megabytes(self) -> float:
        """The most memory that was resident at any time, of the process and its workers."""
        return sum(map(_peak_megabytes, (self.process, *self.process.children(recursive=True))))

    def cpu_seconds(self) -> float:
        return sum(map(cpu_seconds, (self.process, *self.process.children(recursive=True))))


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _peak_megabytes(process: psutil.Process) -> float:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) / 1024


def reset_peak(process: psutil.Process) -> None:
    """From here on, the peak is that of what comes."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def _post(url: str, request: Request) -> Any:
    headers = {"Authorization": f"Bearer {request.key}", "Content-Type": "application/json"}
    try:
        with urlopen(HttpRequest(url, request.body, headers), timeout=60) as response:
            answer = orjson.loads(response.read())
    except HTTPError as error:
        msg = f"{error.code}: {error.read()[:1000].decode(errors='replace')}"
        raise ServerFailed(msg) from error
    if "errors" in answer or answer.get("data") is None:
        raise ServerFailed(str(answer)[:1000])
    return answer["data"]


Body = Callable[[Operation, Asked, Filled, Cursor], Any]


@dataclass(frozen=True, slots=True)
class ServerKind:
    name: str
    command: Callable[[int, str], tuple[str, ...]]
    """From a port and the database's URL."""
    body: Body
    by_path: bool = False
    """Has a path for each operation rather than one for all documents."""
    exact: bool = False
    """Answers to the letter as the gateway does."""
    environment: tuple[tuple[str, str], ...] = ()
    databases: tuple[str, ...] = ("postgresql", "sqlite")
    make_cursor: Callable[[int], Cursor] = lambda _port: _ours_cursor
    """Of the server on that port."""


def _ours_cursor(account_id: int, seq: int) -> str:
    return CursorWriter(CursorKind.LEDGER, account_id).of_seq(seq)


def _postgraphile_cursor(port: int) -> Cursor:
    """PostGraphile's cursors begin with a digest of the order, which only it can tell."""
    page = "transactionsByAccountId(first: 1, orderBy: PRIMARY_KEY_DESC) { pageInfo { endCursor } }"
    document = f'{{ accountByRowId(rowId: "1") {{ {page} }} }}'
    data = _post(f"http://127.0.0.1:{port}/graphql", Request("", orjson.dumps({"query": document})))
    given = data["accountByRowId"]["transactionsByAccountId"]["pageInfo"]["endCursor"]
    digest, account_id, _ = orjson.loads(base64.b64decode(given))
    assert account_id == "1", "a cursor is the order's digest, the account and the seq"

    def cursor(account_id: int, seq: int) -> str:
        return base64.b64encode(orjson.dumps([digest, str(account_id), str(seq)])).decode()

    return cursor


def _gateway_command(port: int, url: str) -> tuple[str, ...]:
    gateway = Path(sys.executable).with_name("billing-gateway")
    return (str(gateway), "serve", "--port", str(port), "--database-url", url, "--workers", "1")


def _peer_command(name: str) -> Callable[[int, str], tuple[str, ...]]:
    return lambda port, url: (sys.executable, "-m", f"benchmarks.peers.{name}", str(port), url)


def _graphql(operation: Operation, asked: Asked, filled: Filled, cursor: Cursor) -> Any:
    return {"query": operation.document, "variables": operation.variables(asked, filled, cursor)}


def _variables(operation: Operation, asked: Asked, filled: Filled, cursor: Cursor) -> Any:
    return operation.variables(asked, filled, cursor)


def _postgraphile(operation: Operation, asked: Asked, _filled: Filled, cursor: Cursor) -> Any:
    return {"query": operation.postgraphile, "variables": operation.postgraphile_variables(asked, cursor)}


_UNLIMITED: Final = (
    ("BILLING_POINTS_PER_SECOND", "100000000"),
    ("BILLING_SERVICE_POINTS_PER_SECOND", "100000000"),
    ("BILLING_OPERATOR_POINTS_PER_SECOND", "100000000"),
    ("BILLING_SLOTS_PER_KEY", "500"),
    ("BILLING_MAX_CONNECTIONS", "100000"),
    ("BILLING_MAX_STREAMS_PER_KEY", "100000"),
    ("BILLING_SLOTS_PER_ACCOUNT", "500"),
)
"""A key that sends as fast as it can would meet its limits. They are checked and counted all the same."""

# A log line for each request is what the gateway does by default; nobody reads them here, but they are written.
KINDS: Final = (
    ServerKind("gateway", _gateway_command, _graphql, environment=_UNLIMITED),
    ServerKind(
        "reference",
        _gateway_command,
        _graphql,
        exact=True,
        environment=(*_UNLIMITED, ("BILLING_COMPILED_EXECUTION", "false")),
    ),
    ServerKind("tutorial", _peer_command("tutorial"), _graphql, make_cursor=lambda _port: tutorial.cursor),
    ServerKind(
        "postgraphile",
        lambda port, url: (str(node.node()), "server.mjs", str(port), url),
        _postgraphile,
        environment=(("NODE_ENV", "production"), ("GRAPHILE_ENV", "production")),
        databases=("postgresql",),
        make_cursor=_postgraphile_cursor,
    ),
    ServerKind("handwritten", _peer_command("handwritten"), _variables, by_path=True, exact=True),
    ServerKind("sql", _peer_command("sql"), _variables, by_path=True, exact=True, databases=("postgresql",)),
)
DEFAULT_NAMES: Final = ("gateway", "tutorial", "postgraphile", "handwritten", "sql")


def _wait_for(port: int, process: psutil.Popen, name: str) -> None:
    ends_at = time.monotonic() + START_SECONDS
    while time.monotonic() < ends_at:
        if process.poll() is not None:
            msg = f"{name} ended with status {process.returncode}"
            raise ServerFailed(msg)
        try:
            urlopen(f"http://127.0.0.1:{port}/", timeout=1).close()
        except HTTPError:
            return  # it answers
        except (URLError, OSError):
            time.sleep(0.1)
        else:
            return
    msg = f"{name} did not answer within {START_SECONDS:.0f} s"
    raise ServerFailed(msg)


@contextmanager
def running(kind: ServerKind, filled: Filled, log: Path) -> Iterator[Server]:
    """What the server writes goes to the log."""
    port = free_port()
    folder = node.FOLDER if kind.name == "postgraphile" else ROOT
    with log.open("wb") as written:
        process = psutil.Popen(
            kind.command(port, filled.url),
            cwd=folder,
            env=os.environ | dict(kind.environment),
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_for(port, process, kind.name)
            yield Server(kind, port, process, filled, kind.make_cursor(port))
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(timeout=STOP_SECONDS)
