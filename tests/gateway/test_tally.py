"""Events counted in bulk are the events counted one by one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway import tally
from gateway.tally import REQUEST_SECONDS, BulkHistogram, RequestTally, Tally

BOUNDS = (0.5, 1.0, 2.0)
NOW = datetime(2026, 11, 1, tzinfo=UTC)


async def test_a_tally_is_what_prometheus_would_have_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    registry, other = CollectorRegistry(), CollectorRegistry()
    events = Counter("events", "Events", registry=registry)
    counted = Tally(events, BulkHistogram("delay", "Delay", buckets=BOUNDS, registry=registry), BOUNDS)
    one_by_one = Histogram("delay", "Delay", buckets=BOUNDS, registry=other)
    monkeypatch.setattr(tally, "time", NOW.timestamp)
    for _ in range(2):
        for delay in (0.0, 0.25, 0.5, 0.75, 1.0, 2.0, 4.0, 4.0):
            counted.count(NOW - timedelta(seconds=delay))
            one_by_one.observe(delay)
        counted.count(None)
        counted.hand_on()
        counted.hand_on()
    assert registry.get_sample_value("events_total") == 18

    def samples(of: CollectorRegistry) -> list[tuple[str, str | None, float]]:
        (metric,) = [one for one in of.collect() if one.name == "delay"]
        made = [one for one in metric.samples if not one.name.endswith("_created")]
        return [(one.name, one.labels.get("le"), one.value) for one in made]

    assert samples(registry) == samples(other)


async def test_counts_are_handed_on_without_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "KEPT_SECONDS", 0.0)
    registry = CollectorRegistry()
    events = Counter("events", "Events", registry=registry)
    counted = Tally(events, BulkHistogram("delay", "Delay", buckets=BOUNDS, registry=registry), BOUNDS)
    counted.count(None)
    counted.count(None)
    assert registry.get_sample_value("events_total") == 0
    await asyncio.sleep(0.05)
    assert registry.get_sample_value("events_total") == 2


async def test_requests_are_counted_as_prometheus_would_have_counted_them() -> None:
    registry, other = CollectorRegistry(), CollectorRegistry()
    names = ["route", "method", "status", "code"]
    running = Gauge("running", "Running", registry=registry)
    seconds = BulkHistogram("seconds", "Seconds", ["route"], buckets=REQUEST_SECONDS, registry=registry)
    counted = RequestTally(Counter("requests", "Requests", names, registry=registry), seconds, running)
    requests = Counter("requests", "Requests", names, registry=other)
    # Its own buckets are those that the metric has always had.
    durations = Histogram("seconds", "Seconds", ["route"], registry=other)

    for _ in range(2):
        for route, status, took, code in (
            *(("/a", 200, 0.004, ""), ("/a", 200, 0.005, "")),
            *(("/a", 200, 0.005, "FORBIDDEN"), ("/a", 400, 11.0, "BAD_CURSOR"), ("/b", 200, 1.0, "")),
        ):
            counted.begin()
            counted.end(route, "GET", status, took, code)
            requests.labels(route, "GET", str(status), code).inc()
            durations.labels(route).observe(took)
        counted.count("unknown", "PUT", 400, "BAD_USER_INPUT")
        requests.labels("unknown", "PUT", "400", "BAD_USER_INPUT").inc()
        counted.hand_on()
        counted.hand_on()

    def samples(of: CollectorRegistry) -> set[tuple[str, str, float]]:
        made = [one for metric in of.collect() if metric.name != "running" for one in metric.samples]
        return {(one.name, str(one.labels), one.value) for one in made if not one.name.endswith("_created")}

    assert samples(registry) == samples(other)
    assert registry.get_sample_value("running") == 0
    counted.begin()
    counted.hand_on()
    assert registry.get_sample_value("running") == 1
