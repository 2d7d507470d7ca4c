"""The dashboard and the alert rules ask for metrics that there are, and promtool takes them."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.deploy.names import DEPLOY, ROOT, metric_names, metrics_in

DASHBOARD = json.loads((DEPLOY / "grafana" / "billing.json").read_text())
PANELS = DASHBOARD["panels"]


def test_the_dashboard_shows_metrics_that_exist() -> None:
    asked = {name for panel in PANELS for one in panel.get("targets", ()) for name in metrics_in(one["expr"])}
    assert asked - metric_names() == set()
    not_shown = {name for name in metric_names() - asked if not name.endswith(("_sum", "_count"))}
    assert not_shown == {"billing_worker_rounds_total", "billing_worker_seconds_bucket"} - asked


def test_panels_of_the_dashboard_lie_beside_each_other() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [panel["gridPos"] for panel in PANELS]
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells)


def test_the_database_that_grafana_asks_is_provisioned() -> None:
    (source,) = DASHBOARD["templating"]["list"]
    text = (DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text()
    assert source["query"] == "prometheus"
    assert "type: prometheus" in text


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool on this machine: Debian's package prometheus")
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "docs/alerts.yml"),
        ("test", "rules", "deploy/alerts.test.yml"),
        ("check", "config", "--syntax-only", "deploy/prometheus.yml"),
    ],
    ids=" ".join,
)
def test_promtool_takes_the_rules(arguments: tuple[str, ...]) -> None:
    found = subprocess.run(("promtool", *arguments), cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
