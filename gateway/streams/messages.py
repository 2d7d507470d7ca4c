"""Messages of the protocol `graphql-transport-ws`, as clients send them and as they are sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final

import orjson

from gateway.errors import RequestError
from gateway.graphql_request import GraphQLRequest, checked_request

MAX_ID: Final = 1_000
"""Characters of an operation's id, which each of its messages repeats."""


MAX_SHOWN_ID: Final = 80


class CloseCode(IntEnum):
    RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_MESSAGE = 4400
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    SUBPROTOCOL = 4406
    INIT_TIMEOUT = 4408
    SUBSCRIBER_EXISTS = 4409
    TOO_MANY_INITS = 4429
    INTERNAL = 4500


class Closing(Exception):
    """The socket is closed, by the server."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        """At most 123 bytes."""


@dataclass(frozen=True, slots=True)
class Init:
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ping:
    payload: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Pong:
    payload: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Subscribe:
    id: str
    given: GraphQLRequest


@dataclass(frozen=True, slots=True)
class Complete:
    id: str


Message = Init | Ping | Pong | Subscribe | Complete


def _invalid(what: str) -> Closing:
    return Closing(CloseCode.BAD_MESSAGE, f"Invalid message: {what}")


def _payload(given: Mapping[str, Any]) -> dict[str, Any] | None:
    payload = given.get("payload")
    if not isinstance(payload, dict | None):
        raise _invalid("payload must be an object or null")
    return payload


def _id(given: Mapping[str, Any]) -> str:
    name = given.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_ID:
        msg = f"id must be a string of 1 to {MAX_ID} characters"
        raise _invalid(msg)
    return name


def _subscribe(given: Mapping[str, Any]) -> Subscribe:
    try:
        return Subscribe(_id(given), checked_request(_payload(given) or {}))
    except RequestError as error:
        raise _invalid(str(error)) from error


_TYPES: Final[Mapping[str, Callable[[Mapping[str, Any]], Message]]] = MappingProxyType(
    {
        "connection_init": lambda given: Init(_payload(given) or {}),
        "ping": lambda given: Ping(_payload(given)),
        "pong": lambda given: Pong(_payload(given)),
        "subscribe": _subscribe,
        "complete": lambda given: Complete(_id(given)),
    }
)


def parse_message(text: str) -> Message:
    """Raises Closing."""
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _invalid("not JSON") from error
    if not isinstance(given, dict):
        raise _invalid("not an object")
    kind = given.get("type")
    read = _TYPES.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise _invalid("no type that a client sends")
    return read(given)


def exists(name: str) -> str:
    """Why a socket is closed that uses an id twice; the reason of a closure has 123 bytes."""
    return f"Subscriber for {name if len(name.encode()) <= MAX_SHOWN_ID else 'this id'} already exists"


_TEXT: Final = 0x81
_TEXT_OF_2_BYTES: Final = bytes((_TEXT, 126))
_TEXT_OF_8_BYTES: Final = bytes((_TEXT, 127))
"""First bytes of a text frame, by the number of bytes that hold the message's length."""

ACK: Final = b'{"type":"connection_ack"}'


def pong(payload: dict[str, Any] | None) -> bytes:
    """Raises Closing for what can be read, but is nested too deeply to be written."""
    if payload is None:
        return b'{"type":"pong"}'
    try:
        return orjson.dumps({"type": "pong", "payload": payload})
    except orjson.JSONEncodeError as error:
        raise _invalid("payload is nested too deeply") from error


def next_prefix(name: str) -> bytes:
    """Returns the text before the payload of each `next` of an operation; `}` follows the payload."""
    return b'{"id":' + orjson.dumps(name) + b',"type":"next","payload":'


def text_frame(message: bytes) -> bytes:
    """The message in one frame (RFC 6455, section 5.2), unmasked as servers send it and not compressed."""
    size = len(message)
    if size < 126:
        return bytes((_TEXT, size)) + message
    if size < 2**16:
        return _TEXT_OF_2_BYTES + size.to_bytes(2) + message
    return _TEXT_OF_8_BYTES + size.to_bytes(8) + message


def error(name: str, errors: list[dict[str, Any]]) -> bytes:
    return orjson.dumps({"id": name, "type": "error", "payload": errors})


def complete(name: str) -> bytes:
    return orjson.dumps({"id": name, "type": "complete"})
