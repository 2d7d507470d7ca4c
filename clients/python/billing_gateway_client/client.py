"""The client: operations sent and tried again, lists read page by page, and subscriptions that miss nothing."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self, TypeVar

import aiohttp

from billing_gateway_client.errors import (
    BillingError,
    Internal,
    Lagged,
    NotFound,
    RateLimited,
    Unavailable,
    error_of,
    error_of_rest,
)
from billing_gateway_client.event_stream import events
from billing_gateway_client.operation import Mutation, Operation, Subscription, after
from billing_gateway_client.operations import (
    MoreTransactions,
    MoreTransactionsAccountTransactionsEdges,
    Position,
    TransactionFilter,
)
from billing_gateway_client.read_position import POSITION, ReadPosition

Data = TypeVar("Data")
Edge = TypeVar("Edge", covariant=True)

SILENCE_SECONDS: Final = 60.0
"""A stream that is silent for longer is opened anew: the gateway sends heartbeats every 20 seconds."""

_JSON: Final = "application/graphql-response+json, application/json;q=0.9"


class PageInfo(Protocol):
    @property
    def has_next_page(self) -> bool: ...
    @property
    def end_cursor(self) -> str | None: ...


class Connection(Protocol[Edge]):
    """A page of a list whose selection has `edges` and `pageInfo`."""

    @property
    def edges(self) -> tuple[Edge, ...]: ...
    @property
    def page_info(self) -> PageInfo: ...


@dataclass(frozen=True, slots=True)
class Retries:
    attempts: int = 5
    first_seconds: float = 0.25
    max_seconds: float = 30.0

    def pause(self, failures: int, error: BillingError) -> float:
        """Seconds before the next attempt: at least what the gateway asks for, and spread beyond that."""
        pause = min(self.first_seconds * 2.0**failures, self.max_seconds)
        return (error.retry_after or 0.0) + pause * random.uniform(0.5, 1)  # noqa: S311  it spreads clients


class BillingClient:
    """Calls a gateway with an API key. Use it as `async with BillingClient(url, key) as client`."""

    def __init__(
        self,
        url: str,
        key: str | Callable[[], Awaitable[str]],
        *,
        retries: Retries = Retries(),
        timeout_seconds: float = 30.0,
    ) -> None:
        """`url` is the gateway's, without /graphql. A key that changes is given as a function."""
        self._url = f"{url.rstrip('/')}/graphql"
        self._key = key
        self._retries = retries
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None
        self._read_position = ReadPosition()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def execute(self, operation: Operation[Data]) -> Data:
        """Answers a query or mutation. Raises the BillingError of a refusal.

        What failed on the way is sent again. A mutation has one idempotency key in all attempts, so it is carried out
        once; give a key of your own to send the same call again after a restart of your program.
        """
        if isinstance(operation, Mutation):
            operation = operation.with_key()
        failures = 0
        while True:
            try:
                return operation.decode(await self._asked(operation))
            except (Unavailable, RateLimited) as error:
                failures += 1
                if failures >= self._retries.attempts:
                    raise
                await asyncio.sleep(self._retries.pause(failures - 1, error))

    async def pages(
        self, operation: Operation[Data], connection: Callable[[Data], Connection[Edge] | None]
    ) -> AsyncGenerator[Edge, None]:
        """Yields the edges of a list, which are read page by page. `after` of the operation is where it begins: the
        cursor of the last edge that was handled resumes it."""
        while True:
            page = connection(await self.execute(operation))
            if page is None:
                return
            for edge in page.edges:
                yield edge
            if not page.page_info.has_next_page:
                return
            operation = after(operation, page.page_info.end_cursor)

    async def transactions(
        self,
        account: str | None = None,
        *,
        filter: TransactionFilter | None = None,  # noqa: A002  the API's name
        after: str | None = None,
        page_size: int = 200,
    ) -> AsyncGenerator[MoreTransactionsAccountTransactionsEdges, None]:
        """Yields the account's rows with their cursors, newest first. `after` resumes behind the row of that cursor."""
        asked = MoreTransactions(account=account, after=after, first=page_size, filter=filter)
        async for edge in self.pages(asked, lambda data: data.account.transactions if data.account else None):
            yield edge

    async def follow(self, subscription: Subscription[Data]) -> AsyncGenerator[Data, None]:
        """Yields the events of a subscription for ever, and misses none: it opens the stream again after the last
        cursor whenever it ends. Without `after` it begins at the moment of the call.

        Save the cursor of each event once it is handled, and begin there after a restart. Raises the BillingError of a
        refusal that trying again does not help.
        """
        if getattr(subscription, "after", None) is None:
            subscription = subscription.after_cursor(await self._position(getattr(subscription, "account", None)))
        failures = 0
        while True:
            error: BillingError = Unavailable("UNAVAILABLE", "the stream ended")
            try:
                async with aclosing(self._streamed(subscription)) as stream:
                    async for data in stream:
                        (event,) = data.values()
                        subscription = subscription.after_cursor(event["cursor"])
                        failures = 0
                        yield subscription.decode(data)
            except Lagged as lagged:
                subscription, error = subscription.after_cursor(lagged.cursor), lagged
            except (Unavailable, RateLimited, Internal) as ended:
                error = ended
            await asyncio.sleep(self._retries.pause(failures, error))
            failures += 1

    async def _position(self, account: str | None) -> str:
        found = (await self.execute(Position(account=account))).account
        if found is None:
            raise NotFound("NOT_FOUND", "the key has no account of its own: name one")
        return found.balance_cursor

    async def _headers(self, accept: str) -> dict[str, str]:
        key = self._key if isinstance(self._key, str) else await self._key()
        return {"Authorization": f"Bearer {key}", "Accept": accept}

    def _open(self, operation: Operation[Any], headers: Mapping[str, str], timeout: aiohttp.ClientTimeout) -> Any:
        assert self._session is not None, "use the client as `async with BillingClient(…) as client`"
        body = {"query": operation.text, "operationName": operation.name, "variables": operation.variables}
        return self._session.post(self._url, json=body, headers=headers, timeout=timeout)

    async def _asked(self, operation: Operation[Any]) -> Mapping[str, Any]:
        began = self._read_position.begin()
        try:
            headers = await self._headers(_JSON) | self._read_position.headers
            async with self._open(operation, headers, self._timeout) as response:
                self._read_position.note(began, response.headers.get(POSITION))
                return _data(response, await response.text())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable("UNAVAILABLE", f"{type(error).__name__}: {error}") from error

    async def _streamed(self, subscription: Subscription[Any]) -> AsyncGenerator[Mapping[str, Any], None]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=SILENCE_SECONDS)
        try:
            async with self._open(subscription, await self._headers("text/event-stream"), timeout) as response:
                if response.content_type != "text/event-stream":
                    _data(response, await response.text())
                async for kind, text in events(response.content):
                    if kind == "complete":
                        return
                    if kind == "next":
                        self._read_position.note_event()
                        yield _data(response, text)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable("UNAVAILABLE", f"{type(error).__name__}: {error}") from error


def _data(response: aiohttp.ClientResponse, text: str) -> Mapping[str, Any]:
    """The data of an answer. Raises the BillingError of its errors."""
    try:
        body = json.loads(text)
        errors, data = body.get("errors"), body.get("data")
    except (ValueError, AttributeError):
        errors = data = None
    if not errors and data is not None:
        found: Mapping[str, Any] = data
        return found
    error = error_of(errors) if errors else error_of_rest(response.status, text)
    raise _with_retry_after(error, response.headers.get("Retry-After"))


def _with_retry_after(error: BillingError, header: str | None) -> BillingError:
    if error.retry_after is not None or not (header and header.isdigit()):
        return error
    first: dict[str, Any] = dict(error.errors[0]) if error.errors else {"message": error.message}
    first["extensions"] = {**error.extensions, "retryAfter": int(header)}
    return type(error)(error.code, error.message, [first, *error.errors[1:]])
