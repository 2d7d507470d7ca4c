"""Streams of the events that answer one operation, for all transports."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol, Self

import orjson
from graphql import ExecutionResult, OperationType

from access.keys import Principal
from db.errors import AccountMoved
from db.feed.changes import Change
from db.feed.feed import ChangeFeed
from db.moved_accounts import MAX_TRIES
from execution.documents import Operation
from execution.executor import Prepared
from execution.pending import Begun, begin
from execution.slices import pause
from execution.subscriptions import source_of
from gateway.graphql_request import GraphQLRequest
from gateway.operations import (
    Refused,
    errors_of,
    execute_operation,
    find_operation,
    formatted_errors,
    prepare_operation,
    run_operation,
)
from gateway.services import Services
from gateway.streams.finishing import finished
from ledger.errors import Lagged
from resolvers.context import SubscriptionContext
from resolvers.reads.balance_changes import BalanceChanges, BalanceEvent, LowBalanceEvent, LowBalances
from resolvers.reads.spend_limit_events import SpendLimitEvent, SpendLimitEvents
from resolvers.shards import AccountRoutes

StreamEvent = BalanceEvent | LowBalanceEvent | SpendLimitEvent


@dataclass(frozen=True, slots=True)
class Event:
    id: str | None
    """The cursor; None for the answer of a query or mutation."""
    payload: bytes
    """The JSON of one execution result, shared by all who asked for the same."""
    committed_at: datetime | None
    """When the row was committed; only for live events."""


Sink = Callable[[Event], bool]
"""Writes an event at once, or says that it can't, or raises: then the event comes by iteration."""


class Ended(Exception):
    """A stream that had begun is over."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__()
        self.errors = errors
        """Errors as they are sent to the client."""


class EventStream(Protocol):
    """Raises Ended when it is over for a reason. `aclose` ends it at once, begun or not."""

    def attach(self, sink: Sink) -> None:
        """While the next event is waited for, those that are there at once may go to `sink`, and wake nobody. What it
        does not take comes by iteration."""

    def __aiter__(self) -> AsyncIterator[Event]: ...

    async def __anext__(self) -> Event: ...

    async def aclose(self) -> None: ...


class Subscription:
    """Follows the source of one subscription, and makes each event's answer, or takes the one that was made already
    for another subscriber who asked for the same."""

    def __init__(
        self,
        services: Services,
        principal: Principal,
        prepared: Prepared,
        source: BalanceChanges | LowBalances | SpendLimitEvents,
    ) -> None:
        self._services = services
        self._principal = principal
        self._prepared = prepared
        self._source = source
        # Everything below the root that an answer depends on, besides the event.
        operation, variables = prepared.operation, prepared.given
        values = {name: variables.get(name) for name in operation.event_variables if name in variables}
        # As text: the bytes that orjson returns keep its buffer of 4 KiB, for as long as the subscription lasts. One
        # text for all who ask the same: it is compared with each event.
        self._kind = (operation, sys.intern(orjson.dumps(values).decode()), principal.scope.value)

    def attach(self, sink: Sink) -> None:
        source, kind, context = self._source, self._kind, copy_context()
        if not isinstance(source, BalanceChanges):
            return  # its events are rare, and not the same for others

        def take(change: Change) -> bool:
            try:
                made = change.made.get(kind)
                if made is None:
                    made = context.run(self._begin, source.event_of(change), change.made)
                return isinstance(made, Event) and sink(made)
            except Exception:  # noqa: BLE001
                # The error is raised again in the task that waits for the event, which can report it.
                return False

        source.attach(take)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        source = self._source
        try:
            event: StreamEvent = await source.__anext__()
            if source.goes_on and not source.is_live:
                async with self._services.replay_turns.turn(self._principal.key_id):
                    made = await self._answer(event)
            else:
                made = await self._answer(event)
        except Exception as error:
            if isinstance(error, Lagged):
                self._services.metrics.lagged.inc()
            raise Ended(errors_of(self._services, error)) from error
        return made if source.is_live else replace(made, committed_at=None)

    async def _answer(self, event: StreamEvent) -> Event:
        shared = self._source.shared
        made: Any = None if shared is None else shared.get(self._kind)
        if made.__class__ is not Event:
            made = await (self._serialized(event) if shared is None else self._made(event, shared))
        answer: Event = made
        return answer

    async def _made(self, event: StreamEvent, shared: dict[object, object]) -> Event:
        made: Any = shared.get(self._kind) or self._begin(event, shared)
        return made if isinstance(made, Event) else await asyncio.shield(made)

    def _begin(self, event: StreamEvent, shared: dict[object, object]) -> object:
        """The event, for all who ask the same of the row, or a task that makes it where something has to be read."""
        made = begin(self._serialized(event))
        if isinstance(made, Begun):
            # If one subscriber leaves meanwhile, the others still wait for the event.
            made = asyncio.ensure_future(made)
            made.add_done_callback(lambda task: _keep(shared, self._kind, task))
        shared[self._kind] = made
        return made

    async def _serialized(self, event: StreamEvent) -> Event:
        result = await execute_operation(self._services, self._principal, self._prepared, event)
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer = {"errors": formatted_errors(self._services, result.errors, "BAD_USER_INPUT"), **answer}
        row = event.transaction
        return Event(event.cursor, orjson.dumps(answer), None if row is None else row.created_at)

    async def aclose(self) -> None:
        await self._source.aclose()


def _keep(shared: dict[Any, Any], kind: object, task: asyncio.Task[Event]) -> None:
    """Replaces the task by its event. After a failure, the next subscriber makes the event anew."""
    if task.cancelled() or task.exception() is not None:
        shared.pop(kind, None)
    else:
        shared[kind] = task.result()


class _Once:
    """The answer of a query or mutation."""

    def __init__(self, payload: bytes) -> None:
        self._events = iter((Event(None, payload, None),))

    def attach(self, sink: Sink) -> None:
        """Does nothing: the event is there already."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        for event in self._events:
            return event
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._events = iter(())


async def _opened_source(
    services: Services, principal: Principal, operation: Operation, given: GraphQLRequest, last_event_id: str | None
) -> object:
    """Opens it where the account is. Raises what resolvers raise, and AccountMoved."""
    for _ in range(MAX_TRIES):
        of_key = services.of(principal)
        routes = of_key.routes(principal)
        async with of_key.snapshots() as (snapshot, *others):
            source = await source_of(
                services.documents.schema,
                operation.document,
                operation_name=given.operation_name,
                variables=given.variables,
                context=SubscriptionContext(
                    snapshot,
                    principal,
                    services.clock(),
                    of_key.changes_of if routes is None else partial(_changes_of, of_key.shards, routes),
                    last_event_id,
                    others,
                    routes if others else None,
                ),
            )
        if routes is None or await routes.confirm():
            return source
        if isinstance(source, BalanceChanges | LowBalances | SpendLimitEvents):
            await source.aclose()
    raise AccountMoved("the account was moved each time its stream was opened")


def _changes_of(shards: Sequence[Services], routes: AccountRoutes, account_id: int) -> ChangeFeed:
    return (shards[routes.of(account_id)] if len(shards) > 1 else shards[0]).database.changes


async def answers(
    services: Services, principal: Principal, given: GraphQLRequest, last_event_id: str | None = None
) -> EventStream:
    """Raises Refused, and what resolvers raise, before the stream begins; the stream itself may raise Ended.

    `last_event_id` is the cursor of the newest event that the client got: it goes on from there.
    """
    operation = await find_operation(services, principal, given)
    if operation.kind != OperationType.SUBSCRIPTION:
        running = run_operation(services, principal, operation, given)
        answer = await (finished(running) if operation.kind == OperationType.MUTATION else running)
        return _Once(orjson.dumps(answer.body))
    prepared = await prepare_operation(services, principal, operation, given)
    await services.admission.spend(principal, prepared.cost)
    await pause()
    source = await _opened_source(services, principal, operation, given, last_event_id)
    if isinstance(source, ExecutionResult):
        raise Refused(formatted_errors(services, source.errors or [], "BAD_USER_INPUT"))
    assert isinstance(source, BalanceChanges | LowBalances | SpendLimitEvents)
    if source.goes_on:
        services.metrics.replays.inc()
    return Subscription(services, principal, prepared, source)
