from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from hmac import compare_digest
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from aiohttp import HttpVersion11, hdrs, web
from prometheus_client import CollectorRegistry, Counter, Gauge, Metric, generate_latest, multiprocess
from prometheus_client.registry import Collector

from db.backlog import read_backlog
from db.database import Database
from db.stripe_events import open_counts
from db.verification_runs import VerificationRunRow
from gateway.database_metrics import DatabaseMetrics
from gateway.errors import RequestError
from gateway.tally import REQUEST_SECONDS, BulkHistogram, RequestTally, Tally
from ledger.stripe.events import EventState

_DELAY_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


_OF_PROXIES: Final = (
    *(hdrs.FORWARDED, hdrs.X_FORWARDED_FOR, hdrs.X_FORWARDED_HOST, hdrs.X_FORWARDED_PROTO),
    *(hdrs.VIA, "X-Real-IP"),
)


BACKLOG_SECONDS: Final = 60.0


class StripeEventGauges:
    """Gauges of Stripe events, which each process reads from the database. Each process tells of all events."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._waiting = Gauge(
            "billing_stripe_events_waiting",
            "Stripe events that cannot be applied yet",
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._needing_attention = Gauge(
            "billing_stripe_events_needing_attention",
            "Stripe events that need attention",
            registry=registry,
            multiprocess_mode="mostrecent",
        )

    async def read(self, *databases: Database) -> None:
        counts = await open_counts(*databases)
        self._waiting.set(counts[EventState.WAITING])
        self._needing_attention.set(counts[EventState.NEEDS_ATTENTION])


class BacklogGauges:
    """Ages of the oldest work that waits. They are read at most once a minute, as open holds are looked through."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._age = Gauge(
            "billing_backlog_seconds",
            "How long the oldest work of a kind waits: unbilled_day, ended_hold, waiting_event",
            ["kind"],
            registry=registry,
        )
        self._declined = Gauge(
            "billing_auto_recharge_declined_accounts",
            "Accounts whose last auto-recharge payment was declined",
            registry=registry,
        )
        self._read_at: float | None = None

    async def read(self, database: Database, now: datetime) -> None:
        at = time.monotonic()
        if self._read_at is not None and at - self._read_at < BACKLOG_SECONDS:
            return
        self._read_at = at
        backlog = await read_backlog(database, now)
        self._age.labels("unbilled_day").set(backlog.unbilled_day_seconds)
        self._age.labels("ended_hold").set(backlog.ended_hold_seconds)
        self._age.labels("waiting_event").set(backlog.waiting_event_seconds)
        self._declined.set(backlog.declined_accounts)


class VerificationGauges:
    """Gauges of the worker: how the newest runs of verification went, as the database keeps them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._accounts = Gauge(
            "billing_verification_accounts", "Accounts that the newest run has verified so far", registry=registry
        )
        self._faults = Gauge(
            "billing_verification_faults",
            "Faults that the newest run has found so far; until it is complete, at least as many as the last complete"
            " run found",
            registry=registry,
        )
        self._completed = Gauge(
            "billing_verification_completed_timestamp_seconds",
            "Time at which all accounts were verified last, in seconds since 1970; 0 if they never were",
            registry=registry,
        )
        self._faults_before = 0

    def set(self, run: VerificationRunRow) -> None:
        self._accounts.set(run.accounts)
        if run.finished_at is not None:
            self._faults_before = run.faults
            self._completed.set(run.finished_at.timestamp())
        self._faults.set(run.faults if run.finished_at else max(run.faults, self._faults_before))


class PruningGauge:
    """Gauge of the worker: when it last deleted all rows that are kept for a limited time."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._completed = Gauge(
            "billing_pruning_completed_timestamp_seconds",
            "Time at which all requests and authorizations that are not kept any longer were deleted last, in seconds"
            " since 1970; 0 until this worker has done so",
            registry=registry,
        )

    def set(self, at: datetime) -> None:
        self._completed.set(at.timestamp())


class Metrics:
    """Prometheus metrics; with several workers, those of all of them together."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        requests = Counter(
            "billing_http_requests",
            "Number of HTTP requests answered, by the code of the first error in the answer, also in one of status 200",
            ["route", "method", "status", "code"],
            registry=self.registry,
        )
        seconds = BulkHistogram(
            "billing_http_request_seconds",
            "Time to answer an HTTP request",
            ["route"],
            buckets=REQUEST_SECONDS,
            registry=self.registry,
        )
        running = Gauge(
            "billing_http_requests_running",
            "HTTP requests in progress",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.requests = RequestTally(requests, seconds, running)
        self.errors = Counter("billing_errors", "Number of errors sent to clients", ["code"], registry=self.registry)
        self.refused = Counter(
            "billing_refused",
            "Number of operations refused before they ran, by reason: too_costly, rate, queue",
            ["reason"],
            registry=self.registry,
        )
        self.rate_limit_fallbacks = Counter(
            "billing_rate_limit_fallbacks",
            "Number of operations whose points the process counted by itself because Redis did not answer",
            registry=self.registry,
        )
        self.connections = Gauge(
            "billing_connections", "Open connections", registry=self.registry, multiprocess_mode="livesum"
        )
        self.dropped = Counter(
            "billing_connections_closed",
            "Number of connections that the server closed because a limit was reached",
            ["reason"],
            registry=self.registry,
        )
        self.subscribers = Gauge(
            "billing_subscribers",
            "Operations in progress over WebSockets and event streams",
            ["transport"],
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        events = Counter(
            "billing_stream_events",
            "Number of events sent over WebSockets and event streams",
            ["transport"],
            registry=self.registry,
        )
        delay = BulkHistogram(
            "billing_event_delay_seconds",
            "Time from the commit of a row until it is written to a live subscriber",
            buckets=_DELAY_SECONDS,
            registry=self.registry,
        )
        self.events = {name: Tally(events.labels(name), delay, _DELAY_SECONDS) for name in ("websocket", "sse")}
        """Tallies of events by transport."""
        self.replays = Counter(
            "billing_stream_replays", "Number of subscriptions resumed from a cursor", registry=self.registry
        )
        self.stripe_events = StripeEventGauges(self.registry)
        self.database = DatabaseMetrics(self.registry)
        self.clock_ahead = Gauge(
            "billing_clock_ahead_seconds",
            "How far this machine's clock is ahead of the database's clock, or of the newest row if it is behind"
            " that row",
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.lagged = Counter(
            "billing_stream_lagged",
            "Number of subscriptions ended because they fell too far behind",
            registry=self.registry,
        )

    def hand_on(self) -> None:
        """Hands on what was gathered since the last call."""
        self.requests.hand_on()
        for tally in self.events.values():
            tally.hand_on()

    def text(self) -> bytes:
        self.hand_on()
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


class _ByShard(Collector):
    """The metrics of several registries, each with the number of its shard as a label."""

    def __init__(self, registries: Sequence[CollectorRegistry]) -> None:
        self._registries = registries

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for number, registry in enumerate(self._registries):
            for metric in registry.collect():
                family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                of_shard = {"shard": str(number)}
                family.samples += [one._replace(labels=one.labels | of_shard) for one in metric.samples]
        yield from families.values()


def text_by_shard(registries: Sequence[CollectorRegistry]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_ByShard(registries))
    return generate_latest(registry)


def _is_loopback(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def _is_direct(request: web.Request) -> bool:
    """Not through a proxy, whose requests come from loopback too: proxies add headers, or speak HTTP/1.0 as nginx does
    unless told otherwise. Nor from a page whose name was made to lead to loopback (DNS rebinding)."""
    try:
        host = urlsplit(f"//{request.host}").hostname or ""
    except ValueError:
        return False
    return (
        _is_loopback(request.remote or "")
        and _is_loopback(host)
        and request.version >= HttpVersion11
        and not any(name in request.headers for name in _OF_PROXIES)
    )


def may_read_metrics(request: web.Request, token: str | None) -> None:
    """Raises RequestError."""
    if token is not None:
        given = request.headers.get(hdrs.AUTHORIZATION, "")
        if not compare_digest(given.encode("utf-8", "surrogateescape"), f"Bearer {token}".encode()):
            raise RequestError("UNAUTHENTICATED", "/metrics requires the metrics token")
    elif not _is_direct(request):
        raise RequestError("FORBIDDEN", "/metrics can be read only from loopback, directly, or with the metrics token")
