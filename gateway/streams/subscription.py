"""What a stream is made of, whichever transport carries it: the events that answer one operation."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from gateway.graphql_request import GraphQLRequest
from gateway.operations import find_operation, run_operation
from gateway.parts import Parts
from ledger.keys import Principal


@dataclass(frozen=True, slots=True)
class Event:
    id: str | None
    """The cursor; None for the answer of a query or mutation."""
    payload: bytes
    """The JSON of one execution result, shared by all who asked for the same."""
    committed_at: datetime | None
    """When the row was committed, of live events alone."""


class Ended(Exception):
    """A stream that had begun is over."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__()
        self.errors = errors
        """As they go over the wire."""


async def _once(payload: bytes) -> AsyncGenerator[Event, None]:
    yield Event(None, payload, None)


async def answers(
    parts: Parts, principal: Principal, given: GraphQLRequest, last_event_id: str | None = None
) -> AsyncGenerator[Event, None]:
    """Raises Refused, and what resolvers raise, before the stream begins; the stream itself may raise Ended."""
    document, operation = find_operation(parts, given)
    return _once(orjson.dumps(await run_operation(parts, principal, document, operation, given)))
