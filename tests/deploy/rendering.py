"""Renders the chart in an environment that has Helm's library: prints the kinds that each set of values makes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import helm_python as helm
import kubernetes_validate
import yaml

KUBERNETES = ("1.28", "1.37")
SETS: list[dict[str, Any]] = [
    {},
    {
        "settings": {"BILLING_POOL_SIZE": "20"},
        "gateway": {"autoscaling": {"enabled": True}, "minAvailable": "50%"},
        "ingress": {"enabled": True, "className": "nginx", "tlsSecretName": "tls", "annotations": {"a/b": "c"}},
        "networkPolicy": {"clients": [{"podSelector": {}}]},
        "archive": {"enabled": True, "move": True},
        "podMonitor": {"enabled": True},
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
    },
    {"gateway": {"minAvailable": None}, "networkPolicy": {"enabled": False}, "migration": {"enabled": False}},
]


def _kinds(chart: Any, values: dict[str, Any]) -> Iterator[str]:
    chart.validate_schema(values)
    for text in chart.render(values, name="billing", namespace="billing").values():
        for found in filter(None, yaml.safe_load_all(text)):
            yield found["kind"]
            if not found["apiVersion"].startswith("monitoring.coreos.com/"):
                for version in KUBERNETES:
                    kubernetes_validate.validate(found, version, strict=True)


def main(folder: str) -> None:
    findings = helm.lint(folder)
    assert not findings["errors"], findings
    with helm.Chart.load(folder) as chart:
        print(json.dumps([sorted(_kinds(chart, values)) for values in SETS]))  # noqa: T201


main(sys.argv[1])
