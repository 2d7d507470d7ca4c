"""Clients of the drill: they post with idempotency keys, read by their position, and follow streams by their cursor."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from random import Random
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientTimeout, WSMsgType, WSServerHandshakeError

from gateway.positions import POSITION
from ledger.ids import parse_account_id
from ledger.money import parse_nanos
from tests.failover.history import GAVE_UP, Acknowledged, History, Read, Refused, Streamed

PATIENT_SECONDS: Final = 60.0
IMPATIENT_SECONDS: Final = 2.0
_ANY: Final = "0-0"
_GRANT: Final = """
mutation ($input: GrantBonusInput!) { grantBonus(input: $input) { transactions { id refId } replayed } }
"""
_READ: Final = "query ($id: ID!) { account(id: $id) { balance transactions(first: 1) { nodes { id refId } } } }"
_FOLLOW: Final = """
subscription ($id: ID!, $after: String!) {
  balanceChanged(accountId: $id, after: $after) { cursor transaction { id refId } }
}
"""
_BEGIN: Final = "query ($id: ID!) { account(id: $id) { balanceCursor } }"


def _seq(transaction_id: str) -> int:
    return int(transaction_id.rsplit("_", 1)[1])


def _account(account_id: str) -> int:
    number = parse_account_id(account_id)
    assert number is not None
    return number


class Answered(Exception):
    """An answer without a result."""

    def __init__(self, code: str, *, has_retry_after: bool = False) -> None:
        super().__init__(code)
        self.code = code
        self.has_retry_after = has_retry_after


class Caller:
    """One that sends operations to the gateways in turn."""

    def __init__(
        self, name: str, account_id: str, key: str, urls: Sequence[str], session: ClientSession, chances: Random
    ) -> None:
        self.name = name
        self.account_id = account_id
        self.key = key
        self._urls = urls
        self.session = session
        self.chances = chances

    @property
    def url(self) -> str:
        return f"{self.chances.choice(self._urls)}/graphql"

    @property
    def account(self) -> int:
        return _account(self.account_id)

    async def pause(self) -> None:
        await asyncio.sleep(1 + self.chances.random() * 0.2)


class Client(Caller):
    """Is the only writer of its account."""

    def __init__(self, *arguments: Any, history: History, seconds: float, count: Callable[[int], None]) -> None:
        super().__init__(*arguments)
        self._history = history
        self._timeout = ClientTimeout(seconds)
        self._position = _ANY
        self._number = 0
        self._count = count
        """Told of each operation that had a result."""

    async def _send(self, query: str, variables: dict[str, Any]) -> Any:
        headers = {"Authorization": f"Bearer {self.key}", POSITION: self._position}
        body = {"query": query, "variables": variables}
        try:
            async with self.session.post(self.url, json=body, headers=headers, timeout=self._timeout) as response:
                answer = await response.json(content_type=None)
                if "errors" in answer:
                    code = answer["errors"][0]["extensions"]["code"]
                    raise Answered(code, has_retry_after="Retry-After" in response.headers)
                self._position = response.headers.get(POSITION, self._position)
                return answer["data"]
        except TimeoutError:
            raise Answered(GAVE_UP) from None
        except (ClientError, json.JSONDecodeError) as error:
            raise Answered(type(error).__name__) from error

    async def _tried(self, query: str, variables: dict[str, Any]) -> tuple[float, Any]:
        """Sends the operation until it has a result, as clients should."""
        while True:
            began = time.monotonic()
            try:
                return began, await self._send(query, variables)
            except Answered as answer:
                refused = Refused(self.name, began, time.monotonic(), answer.code, answer.has_retry_after)
                self._history.events.append(refused)
                if answer.code != GAVE_UP:
                    await self.pause()

    async def _grant(self) -> None:
        self._number += 1
        key = f"{self.name}-{self._number}"
        given = {"accountId": self.account_id, "amount": "0.01", "promotion": key, "idempotencyKey": key}
        began, data = await self._tried(_GRANT, {"input": given})
        [row], replayed = data["grantBonus"]["transactions"], data["grantBonus"]["replayed"]
        assert row["refId"] == key
        acknowledged = Acknowledged(
            self.name, self.account, began, time.monotonic(), key, _seq(row["id"]), replayed=replayed
        )
        self._history.events.append(acknowledged)

    async def _read(self) -> None:
        began, data = await self._tried(_READ, {"id": self.account_id})
        account = data["account"]
        newest = account["transactions"]["nodes"]
        seq, key = (_seq(newest[0]["id"]), newest[0]["refId"]) if newest else (0, "")
        nanos = parse_nanos(account["balance"])
        self._history.events.append(Read(self.name, self.account, began, time.monotonic(), seq, key, nanos))

    async def live(self, is_over: asyncio.Event, pause_seconds: float) -> None:
        while not is_over.is_set():
            await (self._grant() if self.chances.random() < 0.3 else self._read())
            self._count(1)
            await asyncio.sleep(self.chances.random() * pause_seconds)


class Follower(Caller):
    """Begins with the first row; after a break it goes on behind the last one."""

    def __init__(self, *arguments: Any, history: History) -> None:
        super().__init__(*arguments)
        self._history = history
        self._cursor = ""
        self.received = 0

    async def begin(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        body = {"query": _BEGIN, "variables": {"id": self.account_id}}
        async with self.session.post(self.url, json=body, headers=headers) as response:
            self._cursor = (await response.json())["data"]["account"]["balanceCursor"]

    async def live(self) -> None:
        while True:
            try:
                async for change in self._changes():
                    self._receive(change)
                raise Answered("UNAVAILABLE", has_retry_after=True)
            except Answered as answer:
                self._note_end(answer.code, has_retry_after=answer.has_retry_after)
            except (ClientError, OSError) as error:
                self._note_end(type(error).__name__)
            await self.pause()

    def _note_end(self, code: str, *, has_retry_after: bool = False) -> None:
        now = time.monotonic()
        self._history.events.append(Refused(self.name, now, now, code, has_retry_after))

    def _receive(self, answer: Any) -> None:
        if "errors" in answer:
            # Retry-After is a header, which an event has not.
            raise Answered(answer["errors"][0]["extensions"]["code"], has_retry_after=True)
        change = answer["data"]["balanceChanged"]
        row = change["transaction"]
        self.received = _seq(row["id"])
        self._history.events.append(Streamed(self.name, self.account, time.monotonic(), self.received, row["refId"]))
        self._cursor = change["cursor"]

    def _body(self) -> dict[str, Any]:
        return {"query": _FOLLOW, "variables": {"id": self.account_id, "after": self._cursor}}

    def _changes(self) -> AsyncIterator[Any]:
        raise NotImplementedError


class EventFollower(Follower):
    """By server-sent events."""

    async def _changes(self) -> AsyncIterator[Any]:
        headers = {"Authorization": f"Bearer {self.key}", "Accept": "text/event-stream"}
        timeout = ClientTimeout(total=None, sock_read=60)
        async with self.session.post(self.url, json=self._body(), headers=headers, timeout=timeout) as response:
            if response.status != 200:
                answer = await response.json(content_type=None)
                code = answer["errors"][0]["extensions"]["code"]
                raise Answered(code, has_retry_after="Retry-After" in response.headers)
            is_next = False
            async for line in response.content:
                if line.startswith(b"event:"):
                    is_next = line.strip() == b"event: next"
                elif is_next and line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))


class SocketFollower(Follower):
    """By a WebSocket."""

    async def _changes(self) -> AsyncIterator[Any]:
        try:
            async with self.session.ws_connect(self.url, protocols=("graphql-transport-ws",)) as socket:
                await socket.send_json({"type": "connection_init", "payload": {"Authorization": f"Bearer {self.key}"}})
                await socket.send_json({"id": "1", "type": "subscribe", "payload": self._body()})
                async for message in socket:
                    if message.type != WSMsgType.TEXT:
                        break
                    found = message.json()
                    if found["type"] == "next":
                        yield found["payload"]
                    elif found["type"] == "error":
                        raise Answered(found["payload"][0]["extensions"]["code"], has_retry_after=True)
                    elif found["type"] == "ping":
                        await socket.send_json({"type": "pong"})
                if socket.close_code not in {None, 1006, 1013}:
                    raise Answered(f"CLOSED_{socket.close_code}")
        except WSServerHandshakeError as error:
            raise Answered(f"HANDSHAKE_{error.status}") from error
