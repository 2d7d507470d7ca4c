"""What no handler sees, sent byte for byte to a server of its own process: the answer, and what the log has of it."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from db.database import sqlite_url

T = TypeVar("T")

KEY = "eco_k3x7q2ab_0123456789abcdefghijABCDEFGHIJ_-"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> Any:
        return json.loads(self.body)["error"]


@dataclass
class Served:
    port: int
    log_path: Path
    key: str
    skipped: int = 0
    """Bytes of the log that are from before the test."""

    def send(self, *parts: bytes) -> Answer:
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            for part in parts:
                connection.sendall(part)
            with connection.makefile("rb") as file:
                head, _, body = file.read().partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return Answer(int(first.split()[1]), {name.lower(): value for name, value in headers.items()}, body)

    @property
    def log(self) -> str:
        return self.log_path.read_bytes()[self.skipped :].decode()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.splitlines()]


def _awaited(look: Callable[[], T | None]) -> T:
    """What another process brings about."""
    for _ in range(600):
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError("it never came")


@pytest.fixture(scope="module")
def process(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    path, url = folder / "log", sqlite_url(Path(shutil.copy(sqlite_template, folder)))
    command, environment = [sys.executable, "-m", "gateway.cli"], os.environ | {"BILLING_DATABASE_URL": url}
    new_key = [*command, "keys", "create", "--scope", "operator", "--owner", "tests"]
    key = subprocess.run(new_key, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    with path.open("wb") as file:
        process = subprocess.Popen([*command, "serve", "--port", "0"], env=environment, stderr=file)
    try:
        match = _awaited(lambda: re.search(r'"address": ?"http://127.0.0.1:(\d+)"', path.read_text()))
        yield Served(int(match[1]), path, key)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.fixture
def served(process: Served) -> Served:
    process.skipped = process.log_path.stat().st_size
    return process


def _get(headers: str = "", address: str = "/healthz", host: str = "Host: x\r\n") -> bytes:
    return f"GET {address} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("request_bytes", "message"),
    [
        (_get(f"Authorization: Bearer {KEY}\x01\r\n"), "the request is not valid HTTP"),
        (_get(f"Authorization: Bearer {KEY}{'A' * 9_000}\r\n"), "the address or a header is longer than 8190 bytes"),
        (_get(f"Authorization {KEY}\r\n"), "the request is not valid HTTP"),
        (_get(address="/" + KEY * 300), "the address or a header is longer than 8190 bytes"),
        (_get(f"Expect: {KEY}\r\n"), "Expectation Failed"),
        (KEY.encode() + b"\r\n\r\n", "the request is not valid HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00" + KEY.encode() + b"\r\n\r\n", "the request is not valid HTTP"),
    ],
    ids=["character", "long header", "no colon", "long address", "expectation", "no request", "TLS"],
)
def test_invalid_requests_have_the_shape_of_errors_and_are_not_repeated(
    served: Served, request_bytes: bytes, message: str
) -> None:
    answer = served.send(request_bytes)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["server"] == "billing-gateway"
    assert answer.error.keys() == {"code", "message", "requestId"}
    assert answer.error["code"] == "BAD_USER_INPUT"
    assert answer.error["message"].startswith(message)
    assert KEY not in answer.body.decode()
    assert KEY not in served.log
    assert {line["level"] for line in served.lines()} == {"info"}
    assert served.lines()[-1]["request_id"] == answer.error["requestId"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("address", "accept", "status", "location"),
    [
        ("/console", "*/*", 308, "/console/"),
        ("/console?tab=usage&model=a%20%C3%A4", "text/html", 308, "/console/?tab=usage&model=a%20%C3%A4"),
        ("/?account=acct_1", "text/html,*/*;q=0.8", 302, "/console/?account=acct_1"),
        ("/graphql/?query=%7B__typename%7D", "*/*", 308, "/graphql?query=%7B__typename%7D"),
        ("/billing/transactions//", "*/*", 308, "/billing/transactions"),
        ("/console/how-billing-works/", "text/html", 308, "/console/how-billing-works"),
        ("///", "*/*", 308, "/"),
        ("//other.example/graphql/", "*/*", 404, None),
        ("/console/x/", "*/*", 404, None),
    ],
)
def test_redirects(served: Served, method: str, address: str, accept: str, status: int, location: str | None) -> None:
    request = _get(f"Accept: {accept}\r\n", address).replace(b"GET", method.encode(), 1)
    answer = served.send(request)
    assert (answer.status, answer.headers.get("location")) == (status, location)
    assert answer.headers["server"] == "billing-gateway"
    [line] = served.lines()
    assert (line["level"], line["status"], line["request_id"]) == ("info", status, answer.headers["x-request-id"])


def test_the_root_says_where_things_are(served: Served) -> None:
    places = json.loads(served.send(_get("Accept: */*\r\n", "/")).body)
    assert places.keys() == {"graphql", "console", "rest", "openapi", "docs", "health", "ready"}
    for name, address in places.items():
        answer = served.send(_get("Accept: application/json\r\n", address))
        # Those that need a key say so; the pages may not be built.
        assert answer.status in {"graphql": {401}, "rest": {401}, "console": {200, 503}, "docs": {200, 503}}.get(
            name, {200}
        )


def test_a_browser_gets_a_page_where_there_is_nothing(served: Served) -> None:
    answer = served.send(_get("Accept: text/html\r\n", "/console/x"))
    assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert b'<a href="/console/">' in answer.body
    answer = served.send(_get("Accept: */*\r\n", "/console/x"))
    assert (answer.status, answer.error["code"]) == (404, "NOT_FOUND")


def test_a_method_that_is_not_taken_names_those_that_are(served: Served) -> None:
    answer = served.send(_get().replace(b"GET", b"PUT", 1))
    assert (answer.status, answer.headers["allow"], answer.error["code"]) == (405, "GET,HEAD", "METHOD_NOT_ALLOWED")
    address = "/graphql?query=mutation%7B__typename%7D"
    answer = served.send(_get(f"Authorization: Bearer {served.key}\r\n", address))
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert json.loads(answer.body)["errors"] == [
        {
            "message": "mutations are not allowed over GET: send them over POST",
            "extensions": {"code": "METHOD_NOT_ALLOWED"},
        }
    ]


def test_the_server_tells_no_versions(served: Served) -> None:
    assert served.send(_get()).headers["server"] == "billing-gateway"
    assert served.send(_get(address="/nothing")).headers["server"] == "billing-gateway"


def _post(key: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [
        "POST /graphql HTTP/1.1",
        "Host: x",
        "Connection: close",
        "Content-Type: application/json",
        f"Authorization: Bearer {key}",
        *headers,
        f"Content-Length: {len(body) if length is None else length}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


QUERY = b'{"query": "{ viewer { scope } }"}'
ZIPPED = gzip.compress(QUERY, mtime=0)


@pytest.mark.parametrize(
    ("coding", "body", "status", "code"),
    [
        ("gzip", ZIPPED, 200, None),
        ("GZIP", ZIPPED, 200, None),
        ("deflate", zlib.compress(QUERY), 200, None),
        ("identity", QUERY, 200, None),
        ("gzip", QUERY, 400, "BAD_USER_INPUT"),
        ("deflate", QUERY, 400, "BAD_USER_INPUT"),
        ("gzip", ZIPPED[:-12], 400, "BAD_USER_INPUT"),
        ("br", QUERY, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("zstd", QUERY, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("bogus", QUERY, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("gzip, gzip", gzip.compress(ZIPPED, mtime=0), 415, "UNSUPPORTED_MEDIA_TYPE"),
    ],
)
def test_a_body_is_decoded_or_refused_with_a_code(
    served: Served, coding: str, body: bytes, status: int, code: str | None
) -> None:
    answer = served.send(_post(served.key, body, f"Content-Encoding: {coding}"))
    assert answer.status == status
    given = json.loads(answer.body)
    # An encoding that the server's parser refuses by itself is refused before the path is known.
    error = given["errors"][0]["extensions"] if "errors" in given else given.get("error", {})
    assert error.get("code") == code
    assert {line["level"] for line in served.lines()} == {"info"}


def test_a_client_that_hangs_up_within_its_body_is_no_error(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), 10) as connection:
        connection.sendall(_post(served.key, QUERY, length=1_000))
        time.sleep(0.2)
    lines = _awaited(served.lines)
    assert [(line["level"], line["event"], line["status"]) for line in lines] == [("info", "request", 499)]
