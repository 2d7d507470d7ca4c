"""Clients of two gateways, which record what they send, get and miss. What is not answered is sent again, to the other
gateway, until it is."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import aiohttp
import orjson
from billing_gateway_client.event_stream import events

from tests.chaos.history import Answer, History, Read, Row, Stream

POSTERS: Final = 3
"""Of each account."""
PAUSE_SECONDS: Final = 0.25
"""Mean pause of a client between two calls."""
AGAIN_SECONDS: Final = 0.2
ANSWER_SECONDS: Final = 40.0
"""Longer than the gateway's own limits."""

_ROW: Final = "id amount balanceAfter"
_BONUS: Final = f"mutation ($i: GrantBonusInput!) {{ a: grantBonus(input: $i) {{ transactions {{ {_ROW} }} }} }}"
_OPEN: Final = f"mutation ($i: OpenHoldInput!) {{ a: openHold(input: $i) {{ transactions {{ {_ROW} }} }} }}"
_SETTLE: Final = f"mutation ($i: SettleHoldInput!) {{ a: settleHold(input: $i) {{ transactions {{ {_ROW} }} }} }}"
_BALANCE: Final = f"{{ account {{ balance transactions(first: 1) {{ nodes {{ {_ROW} }} }} }} }}"
_FOLLOW: Final = (
    f"subscription ($after: String) {{ balanceChanged(after: $after) {{ cursor transaction {{ {_ROW} }} }} }}"
)
_PERIOD: Final = {"periodStart": "2026-11-01T00:00:00Z", "periodEnd": "2026-11-01T01:00:00Z"}


class Failed(Exception):
    """The text is the code of the error, or the name of a lost connection's exception."""


@dataclass(frozen=True, slots=True)
class Customer:
    account: str
    key: str


@dataclass
class Load:
    addresses: Sequence[str]
    service_key: str
    customers: Sequence[Customer]
    history: History = field(default_factory=History)

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self.is_over = False
        self._random = Random(14)
        self._numbers = itertools.count(1)
        self._streams: list[asyncio.Task[None]] = []
        self._clients: list[asyncio.Task[None]] = []

    def now(self) -> float:
        return time.monotonic() - self.began

    @asynccontextmanager
    async def running(self, session: aiohttp.ClientSession) -> AsyncIterator[None]:
        """All clients run within; streams go on until `stop_streams`."""
        for customer, number in itertools.product(self.customers, range(2)):
            name = f"stream {number + 1} of {customer.account}"
            self.history.streams[name] = Stream(customer.account)
            opened = asyncio.Event()
            self._streams.append(asyncio.create_task(self._follow(session, customer, name, number, opened)))
            # A stream has no rows from before it was opened.
            await opened.wait()
        for customer in self.customers:
            clients = [*(self._post(session, customer) for _ in range(POSTERS)), self._read(session, customer)]
            self._clients += [asyncio.create_task(one) for one in (*clients, self._page(session, customer))]
        try:
            yield
        finally:
            self.is_over = True
            await asyncio.gather(*self._clients)

    async def stop_streams(self) -> None:
        for task in self._streams:
            task.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)

    @asynccontextmanager
    async def _noted(self, kind: str) -> AsyncIterator[None]:
        began, error = self.now(), ""
        try:
            yield
        except Failed as failed:
            error = str(failed)
            raise
        except (aiohttp.ClientError, OSError, TimeoutError) as lost:
            error = type(lost).__name__
            raise Failed(error) from lost
        finally:
            self.history.answers.append(Answer(kind, began, self.now(), error))

    async def _asked(
        self, session: aiohttp.ClientSession, kind: str, key: str, body: dict[str, Any], gateway: int
    ) -> Any:
        headers = {"Authorization": f"Bearer {key}"}
        async with (
            self._noted(kind),
            session.post(f"{self.addresses[gateway]}/graphql", json=body, headers=headers) as response,
        ):
            answer = await response.json()
            if "errors" in answer:
                raise Failed(answer["errors"][0]["extensions"]["code"])
            return answer["data"]

    async def _until_answered(self, session: aiohttp.ClientSession, kind: str, key: str, body: dict[str, Any]) -> Any:
        for gateway in itertools.cycle(self._random.sample(range(len(self.addresses)), len(self.addresses))):
            try:
                return await self._asked(session, kind, key, body, gateway)
            except Failed:
                await asyncio.sleep(AGAIN_SECONDS)
        raise AssertionError

    async def _call(self, session: aiohttp.ClientSession, name: str, document: str, given: dict[str, Any]) -> None:
        body = {"query": document, "variables": {"i": {"idempotencyKey": name, **given}}}
        data = await self._until_answered(session, name.partition(" ")[0], self.service_key, body)
        (row,) = data["a"]["transactions"]
        self.history.acknowledged[name] = _row(row)

    async def _post(self, session: aiohttp.ClientSession, customer: Customer) -> None:
        while not self.is_over:
            name = f"c{next(self._numbers)}"
            of = {"accountId": customer.account}
            await self._call(session, f"grantBonus {name}", _BONUS, of | {"amount": "0.50", "promotion": name})
            await self._pause()
            hold = of | {"refType": "GPU_INSTANCE", "refId": name}
            await self._call(session, f"openHold {name}", _OPEN, hold | {"amount": "0.25", **_PERIOD})
            await self._pause()
            await self._call(session, f"settleHold {name}", _SETTLE, hold | {"used": "0.01"})
            await self._pause()

    async def _read(self, session: aiohttp.ClientSession, customer: Customer) -> None:
        while not self.is_over:
            data = await self._until_answered(session, "balance", customer.key, {"query": _BALANCE})
            (newest,) = data["account"]["transactions"]["nodes"]
            self.history.reads.append(Read(customer.account, _row(newest), data["account"]["balance"]))
            await self._pause()

    async def _page(self, session: aiohttp.ClientSession, customer: Customer) -> None:
        headers = {"Authorization": f"Bearer {customer.key}"}
        for gateway in itertools.cycle(range(len(self.addresses))):
            if self.is_over:
                return
            url = f"{self.addresses[gateway]}/billing/transactions"
            try:
                async with self._noted("page"), session.get(url, headers=headers) as response:
                    answer = await response.json()
                    if response.status != 200:
                        raise Failed(answer["error"]["code"])
            except Failed:
                await asyncio.sleep(AGAIN_SECONDS)
            await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.uniform(0, 2) * PAUSE_SECONDS)

    async def _follow(
        self, session: aiohttp.ClientSession, customer: Customer, name: str, gateway: int, opened: asyncio.Event
    ) -> None:
        """Goes on after the last cursor, at the other gateway."""
        after: str | None = None
        for number in itertools.count(gateway):
            address = self.addresses[number % len(self.addresses)]
            try:
                async with self._noted("stream"):
                    async for cursor, row in _received(session, address, customer.key, after, opened):
                        self.history.streams[name].received.append(row)
                        after = cursor
                    raise Failed("StreamEnded")
            except Failed:
                await asyncio.sleep(AGAIN_SECONDS)


def _row(answer: dict[str, str]) -> Row:
    return Row(answer["id"], answer["amount"], answer["balanceAfter"])


async def _received(
    session: aiohttp.ClientSession, address: str, key: str, after: str | None, opened: asyncio.Event
) -> AsyncIterator[tuple[str, Row]]:
    """Raises Failed. A heartbeat comes every 20 seconds."""
    headers = {"Authorization": f"Bearer {key}", "Accept": "text/event-stream"}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)
    body = {"query": _FOLLOW, "variables": {"after": after}}
    async with session.post(f"{address}/graphql", json=body, headers=headers, timeout=timeout) as response:
        if response.status != 200:
            raise Failed((await response.json())["errors"][0]["extensions"]["code"])
        opened.set()
        async for event in events(response.content):
            if event.kind != "next":
                return
            payload = orjson.loads(event.data)
            if "errors" in payload:
                raise Failed(payload["errors"][0]["extensions"]["code"])
            change = payload["data"]["balanceChanged"]
            yield change["cursor"], _row(change["transaction"])
