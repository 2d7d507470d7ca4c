"""The alert rules name metrics that the gateway or the worker has."""

from __future__ import annotations

import re
from pathlib import Path

from tests.deploy.names import metric_names

ROOT = Path(__file__).parents[2]


def test_alert_rules_name_metrics_that_exist() -> None:
    text = (ROOT / "docs/alerts.yml").read_text()
    asked = {name for line in re.findall(r"expr: (.+)", text) for name in re.findall(r"billing_\w+", line)}
    assert len(asked) > 12
    assert asked <= metric_names()


def test_each_alert_rule_says_what_is_wrong() -> None:
    text = (ROOT / "docs/alerts.yml").read_text()
    names = re.findall(r"- alert: (\w+)", text)
    assert len(set(names)) == len(names) == text.count("expr: ") == text.count("summary: ")
