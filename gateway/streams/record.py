from __future__ import annotations

import time
from datetime import datetime

import structlog

from access.keys import Principal
from gateway.request_notes import logged_name
from gateway.services import Services

log = structlog.get_logger()


class Record:
    """Counts one stream while it lasts, and logs it at its end."""

    __slots__ = ("_count", "_operation", "_principal", "_sent", "_started", "_subscribers", "_transport")

    def __init__(self, services: Services, transport: str, principal: Principal, operation: str | None) -> None:
        self._transport = transport
        self._principal = principal
        self._operation = logged_name(operation)
        self._subscribers = services.metrics.subscribers.labels(transport)
        self._count = services.metrics.events[transport].count
        self._sent = 0
        self._started = time.monotonic()
        self._subscribers.inc()

    def sent(self, committed_at: datetime | None) -> None:
        """Counts an event that was written; `committed_at` is when its row was committed, if the event is live."""
        self._sent += 1
        self._count(committed_at)

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
