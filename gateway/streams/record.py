from __future__ import annotations

import time

import structlog

from gateway.parts import Parts
from gateway.streams.subscription import Event
from ledger.keys import Principal

log = structlog.get_logger()


class Record:
    """What is counted of one stream while it lasts, and logged of it at its end."""

    __slots__ = (
        "_clock",
        "_delay",
        "_events",
        "_operation",
        "_principal",
        "_sent",
        "_started",
        "_subscribers",
        "_transport",
    )

    def __init__(self, parts: Parts, transport: str, principal: Principal, operation: str | None) -> None:
        self._transport = transport
        self._principal = principal
        self._operation = operation
        self._clock = parts.clock
        self._subscribers = parts.metrics.subscribers.labels(transport)
        self._events = parts.metrics.events.labels(transport)
        self._delay = parts.metrics.delay
        self._sent = 0
        self._started = time.monotonic()
        self._subscribers.inc()

    def sent(self, event: Event) -> None:
        """To be told when the event is written."""
        self._sent += 1
        self._events.inc()
        if event.committed_at is not None:
            self._delay.observe((self._clock() - event.committed_at).total_seconds())

    def end(self, reason: str) -> None:
        self._subscribers.dec()
        log.info(
            "stream",
            transport=self._transport,
            key=self._principal.key_prefix,
            operation=self._operation,
            events=self._sent,
            seconds=round(time.monotonic() - self._started, 3),
            reason=reason,
        )
