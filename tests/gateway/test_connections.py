"""Clients that are late, too many or do not read: what becomes of them, and of the others."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.served import Gateway, awaited, get, is_closed, post, serving

QUICK = {
    "header_timeout_seconds": 1,
    "idle_timeout_seconds": 3,
    "body_timeout_seconds": 2,
    "anonymous_body_timeout_seconds": 1,
    "write_timeout_seconds": 2,
    "stripe_webhook_secrets": "whsec_1",
    "shutdown_seconds": 5,
}


@pytest.fixture(scope="module")
def quick(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with serving(sqlite_template, tmp_path_factory.mktemp("quick"), QUICK) as gateway:
        yield gateway


def _all_closed(connections: list[socket.socket]) -> bool:
    return all(map(is_closed, connections))


def _closed(gateway: Gateway, reason: str) -> float:
    return gateway.metric(f'billing_connections_closed_total{{reason="{reason}"}}')


@pytest.mark.parametrize("begun", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "half"])
def test_a_connection_without_whole_headers_is_closed(quick: Gateway, begun: bytes) -> None:
    before = _closed(quick, "header")
    connections = [quick.sent(begun) for _ in range(20)]
    assert not is_closed(connections[0])
    awaited(lambda: _all_closed(connections), 5)
    assert _closed(quick, "header") == before + 20
    assert quick.is_answered()


def test_headers_in_drips_after_a_request_are_late_too(quick: Gateway) -> None:
    with quick.sent(get("/healthz")) as connection:
        assert connection.recv(1_000).startswith(b"HTTP/1.1 200")
        for _ in range(12):
            time.sleep(0.2)
            if is_closed(connection):
                return
            connection.setblocking(True)
            connection.sendall(b"G" if not _ else b"E")
        assert is_closed(connection)


def test_a_connection_is_kept_between_requests_until_it_is_idle_for_long(quick: Gateway) -> None:
    with quick.sent(get("/healthz")) as connection:
        time.sleep(1.8)
        assert not is_closed(connection)
        connection.setblocking(True)
        connection.sendall(get("/healthz"))
        time.sleep(1.8)
        assert not is_closed(connection)
        awaited(lambda: is_closed(connection), 6)


def _answer(connection: socket.socket) -> tuple[int, Any]:
    head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize("path", ["/graphql", "/console/sign-in", "/webhooks/stripe"])
def test_a_body_that_does_not_come_in_time_is_answered_408(quick: Gateway, path: str) -> None:
    headers = [f"Authorization: Bearer {quick.key}"] if path == "/graphql" else []
    with quick.sent(post(path, b'{"code": ', *headers, "Connection: close", length=100)) as connection:
        status, answer = _answer(connection)
    error = answer["errors"][0] | answer["errors"][0]["extensions"] if path == "/graphql" else answer["error"]
    assert (status, error["code"]) == (408, "REQUEST_TIMEOUT")
    assert error["message"].startswith("the request body must arrive within")


@pytest.mark.parametrize(("path", "length"), [("/console/sign-in", 2_000), ("/webhooks/stripe", 300_000)])
def test_a_body_without_a_key_is_small(quick: Gateway, path: str, length: int) -> None:
    with quick.sent(post(path, b"{", "Connection: close", length=length)) as connection:
        assert _answer(connection)[0] == 413
    chunk = b"Transfer-Encoding: chunked\r\n\r\n" + f"{length:x}\r\n".encode() + b"x" * length + b"\r\n0\r\n\r\n"
    request = post(path, b"", "Connection: close").replace(b"Content-Length: 0\r\n\r\n", chunk)
    with quick.sent(request) as connection:
        assert _answer(connection)[0] == 413


def test_a_client_that_does_not_read_is_cut_off(quick: Gateway) -> None:
    before = _closed(quick, "write")
    with quick.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.sendall(get("/openapi.json") * 200)
        awaited(lambda: _closed(quick, "write") == before + 1, 10)
    assert "Task exception was never retrieved" not in quick.log_path.read_text()


def test_a_client_that_reads_slowly_is_not_cut_off(quick: Gateway) -> None:
    with quick.connect() as connection:
        connection.sendall(get("/openapi.json") * 199 + get("/openapi.json", "Connection: close"))
        taken, file = 0, connection.makefile("rb")
        for _ in range(16):
            time.sleep(0.25)
            taken += len(file.read(8_000))
        taken += len(file.read())
    with quick.sent(get("/openapi.json", "Connection: close")) as connection:
        one = len(connection.makefile("rb").read())
    assert abs(taken - 200 * one) < 200 * 100


def test_the_log_says_what_was_closed(quick: Gateway) -> None:
    quick.sent(b"GET")
    awaited(lambda: [line for line in quick.lines() if line["event"] == "connections closed"], 15)
    lines = [line for line in quick.lines() if line["event"] == "connections closed"]
    assert {line["level"] for line in lines} == {"warning"}
    assert lines[0].keys() & {"header", "body", "idle", "write"}


Start = Callable[..., Gateway]


@pytest.fixture
def start(sqlite_template: Path, tmp_path: Path) -> Iterator[Start]:
    open_ones: list[Any] = []

    def started(*before: str, **settings: object) -> Gateway:
        served = serving(sqlite_template, tmp_path, settings, *before)
        open_ones.append(served)
        gateway: Gateway = served.__enter__()
        return gateway

    yield started
    for one in open_ones:
        one.__exit__(None, None, None)


def test_a_full_process_closes_connections_without_a_request_for_new_ones(start: Start) -> None:
    gateway = start(max_connections=20, header_timeout_seconds=60)
    used = gateway.sent(get("/healthz"))
    assert used.recv(1_000).startswith(b"HTTP/1.1 200")
    silent = [gateway.connect() for _ in range(60)]
    assert gateway.is_answered()
    assert not is_closed(used)
    assert sum(map(is_closed, silent)) >= 40
    assert _closed(gateway, "replaced") >= 40
    for connection in (used, *silent):
        connection.close()


def test_a_new_connection_is_refused_if_all_have_requests(start: Start) -> None:
    gateway = start(max_connections=10, body_timeout_seconds=5)
    authorization = f"Authorization: Bearer {gateway.key}"
    busy = [gateway.sent(post("/graphql", b"{", authorization, length=1_000)) for _ in range(10)]
    # A question before all of them have come would replace one.
    time.sleep(1)
    assert not gateway.is_answered()
    assert not is_closed(busy[0])
    awaited(gateway.is_answered, 20)
    assert _closed(gateway, "full") >= 1


def test_an_address_has_so_many_connections_and_no_more(start: Start) -> None:
    gateway = start(max_connections_per_address=5, trusted_proxies="10.0.0.0/8")
    open_ones = [gateway.sent(get("/healthz")) for _ in range(5)]
    assert all(one.recv(1_000).startswith(b"HTTP/1.1 200") for one in open_ones)
    assert not gateway.is_answered()
    open_ones.pop().close()
    awaited(gateway.is_answered, 5)


def test_behind_a_proxy_an_address_has_so_many_requests_in_progress(start: Start) -> None:
    gateway = start(max_connections_per_address=2)
    headers = (f"Authorization: Bearer {gateway.key}", "X-Forwarded-For: 6.6.6.6, 192.0.2.1")
    busy = [gateway.sent(post("/graphql", b"{", *headers, length=1_000)) for _ in range(2)]

    def answer_to(address: str) -> bytes:
        with gateway.sent(get("/healthz", f"X-Forwarded-For: {address}", "Connection: close")) as connection:
            return connection.makefile("rb").read()

    awaited(lambda: answer_to("192.0.2.1").startswith(b"HTTP/1.1 429"))
    assert b"Retry-After: 1\r\n" in answer_to("192.0.2.1")
    for address in ("192.0.2.2", "192.0.2.1, 192.0.2.3"):
        assert answer_to(address).startswith(b"HTTP/1.1 200")
    for connection in busy:
        connection.close()


def test_more_connections_than_files_shut_nobody_out(start: Start) -> None:
    gateway = start("prlimit", "--nofile=64:400")
    [line] = [line for line in gateway.lines() if line["level"] == "warning"]
    assert (line["files"], line["connections"]) == (400, 220)
    silent = [gateway.connect() for _ in range(600)]
    for _ in range(5):
        assert gateway.is_answered()
    assert _closed(gateway, "replaced") >= 380
    for connection in silent:
        connection.close()


def test_at_sigterm_all_end_in_time_whatever_their_clients_do(start: Start) -> None:
    gateway = start(shutdown_seconds=6)
    authorization = f"Authorization: Bearer {gateway.key}"
    slow = [gateway.sent(post("/graphql", b"{", authorization, length=1_000)) for _ in range(10)]
    deaf = []
    for _ in range(10):
        connection = gateway.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.sendall(get("/openapi.json") * 200)
        deaf.append(connection)
    time.sleep(0.5)
    began = time.monotonic()
    gateway.process.terminate()
    assert gateway.process.wait(20) == 0
    assert time.monotonic() - began < 6
    assert {line["level"] for line in gateway.lines()} == {"info"}
    for connection in (*slow, *deaf):
        connection.close()
