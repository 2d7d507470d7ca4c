"""A threat of docs/security.md: a probe and its answer, or the test elsewhere that holds the threat."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

SEVERAL_MEBIBYTES: Final = gzip.compress(b" " * 8_388_608, mtime=0)
UNKNOWN_KEY: Final = "eco_aaaaaaaa_" + "A" * 32
SMUGGLED: Final = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
HTML: Final = "Accept: text/html"
EVENTS: Final = "Accept: text/event-stream"
NO_STORE: Final = ("Cache-Control", "no-store")
CHALLENGE: Final = ("WWW-Authenticate", 'Bearer realm="billing"')


@dataclass(frozen=True)
class Sent:
    """A request. `<read>` and the other names of `probed_gateway.Names` stand for keys, tokens and ids."""

    method: str
    target: str
    headers: tuple[str, ...]
    body: bytes = b""

    def encode(self, names: Mapping[str, str]) -> bytes:
        body = _filled(self.body, names)
        length = [f"Content-Length: {len(body)}"] if body else []
        lines = [f"{self.method} {self.target} HTTP/1.1", "Host: x", "Connection: close", *self.headers, *length]
        return _filled("\r\n".join([*lines, "", ""]).encode(), names) + body


@dataclass(frozen=True)
class Raw:
    """The bytes of a request, for what an HTTP client would not send."""

    text: bytes

    def encode(self, names: Mapping[str, str]) -> bytes:
        return _filled(self.text, names)


def _filled(text: bytes, names: Mapping[str, str]) -> bytes:
    for name, value in names.items():
        text = text.replace(f"<{name}>".encode(), value.encode())
    return text


@dataclass(frozen=True)
class Expected:
    status: int
    code: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    without: tuple[str, ...] = ()
    """Headers that the answer must not have."""
    body: str | None = None
    """A part of the body."""

    def __str__(self) -> str:
        parts = [str(self.status) if self.code is None else f"{self.status} `{self.code}`"]
        parts += [f"`{name}: {value}`" for name, value in self.headers]
        parts += [f"no `{name}`" for name in self.without]
        parts += [] if self.body is None else [f"`{self.body}`"]
        return ", ".join(parts)


@dataclass(frozen=True)
class Probe:
    name: str
    threat: str
    said: str
    """The request in short, for the page."""
    sent: Sent | Raw
    expected: Expected

    def row(self) -> str:
        return f"| {self.threat} | {self.said} | {self.expected} | `test_threat[{self.name}]` |"


@dataclass(frozen=True)
class Held:
    """A threat that another test holds."""

    threat: str
    said: str
    answer: str
    test: str
    """`path::function`"""

    def row(self) -> str:
        return f"| {self.threat} | {self.said} | {self.answer} | `{self.test}` |"


@dataclass(frozen=True)
class Group:
    heading: str
    threats: list[Probe | Held] = field(default_factory=list)

    def probes(self) -> Iterator[Probe]:
        return (threat for threat in self.threats if isinstance(threat, Probe))

    def held(self) -> Iterator[Held]:
        return (threat for threat in self.threats if isinstance(threat, Held))


def _bearer(key: str | None) -> tuple[str, ...]:
    return () if key is None else (f"Authorization: Bearer {key}",)


def get(target: str, *headers: str, key: str | None = "<read>", method: str = "GET") -> Sent:
    return Sent(method, target, (*_bearer(key), *headers))


def post(
    target: str, body: object, *headers: str, key: str | None = "<read>", content_type: str = "application/json"
) -> Sent:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Sent("POST", target, (*_bearer(key), f"Content-Type: {content_type}", *headers), sent)


def query(text: str, *headers: str, key: str | None = "<read>", **variables: Any) -> Sent:
    return post("/graphql", {"query": text, "variables": variables}, *headers, key=key)


def mutation(name: str, key: str, **given: object) -> Sent:
    text = f"mutation ($input: {name[0].upper()}{name[1:]}Input!) {{ {name}(input: $input) {{ __typename }} }}"
    return query(text, key=key, input={"idempotencyKey": "probe", **given})


def rows(parameters: str = "", *headers: str, key: str | None = "<read>") -> Sent:
    return get(f"/billing/transactions?{parameters}", *headers, key=key)


def framed(*lines: str, body: str = "") -> Raw:
    head = ["POST /graphql HTTP/1.1", "Host: x", "Connection: close", "Authorization: Bearer <read>", *lines, "", ""]
    return Raw("\r\n".join(head).encode() + body.encode())


def nested(levels: int) -> str:
    """The last level is `id`."""
    inner = "corrects { " * (levels - 4) + "id" + " }" * (levels - 4)
    return f"{{ account {{ transactions {{ nodes {{ {inner} }} }} }} }}"


BAD_HTTP: Final = Expected(400, "BAD_USER_INPUT")
BAD_INPUT: Final = Expected(400, "BAD_USER_INPUT")
TOO_COMPLEX: Final = Expected(200, "QUERY_TOO_COMPLEX")
TOO_COSTLY: Final = Expected(400, "QUERY_TOO_COMPLEX")
NO_KEY: Final = Expected(401, "UNAUTHENTICATED")
NOT_FOUND: Final = Expected(404, "NOT_FOUND")
HIDDEN: Final = Expected(200, "NOT_FOUND")
FORBIDDEN: Final = Expected(200, "FORBIDDEN")
NO_ROWS: Final = Expected(200, body="[]")
