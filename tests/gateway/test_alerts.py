"""The alert rules name metrics that the gateway or the worker has."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry

from gateway.jobs import JobMetrics
from gateway.metrics import Metrics

ROOT = Path(__file__).parents[2]


def _names(registry: CollectorRegistry) -> set[str]:
    found = set()
    for metric in registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(metric.type, ("",))
        found |= {metric.name + suffix for suffix in suffixes}
    return found


def test_alert_rules_name_metrics_that_exist() -> None:
    text = (ROOT / "docs/alerts.yml").read_text()
    asked = {name for line in re.findall(r"expr: (.+)", text) for name in re.findall(r"billing_\w+", line)}
    assert len(asked) > 12
    assert asked <= _names(Metrics().registry) | _names(JobMetrics().registry)


def test_each_alert_rule_says_what_is_wrong() -> None:
    text = (ROOT / "docs/alerts.yml").read_text()
    names = re.findall(r"- alert: (\w+)", text)
    assert len(set(names)) == len(names) == text.count("expr: ") == text.count("summary: ")
