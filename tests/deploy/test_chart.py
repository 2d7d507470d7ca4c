"""The Helm chart. `make test-nightly` renders it with Helm's own library, and validates what comes out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.deploy.names import COMMANDS, DEPLOY, ROOT

CHART = DEPLOY / "helm" / "billing-gateway"
RENDERED = int(os.environ.get("CHART_RENDERED", "0"))
TOOLS = ("helm-python-sdk==0.2.2", "kubernetes-validate==1.37.0")
POLICIES = ("NetworkPolicy",) * 3
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


def _errors(values: dict[str, Any]) -> list[str]:
    schema = json.loads((CHART / "values.schema.json").read_text())
    return [one.message for one in jsonschema.Draft7Validator(schema).iter_errors(VALUES | values)]


def test_the_chart_has_the_version_of_the_program() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_the_schema_takes_the_defaults_and_refuses_mistakes() -> None:
    assert _errors({}) == []
    assert _errors({"settings": {"BILLING_POOL_SIZE": 20}}) == ["20 is not of type 'string'"]
    assert len(_errors({"gatway": {}, "secretName": ""})) == 2


def test_templates_name_values_and_commands_that_exist() -> None:
    text = "\n".join(path.read_text() for path in sorted((CHART / "templates").iterdir()))
    for path in set(re.findall(r"\.Values\.([\w.]+)", text)):
        found: Any = VALUES
        for name in path.split("."):
            assert name in found, path
            found = found[name]
    assert set(re.findall(r"args: \[(\w+)", text)) == COMMANDS & {
        "serve",
        "worker",
        "migrate",
        "archive",
    }
    defined, used = re.findall(r'define "([\w.-]+)"', text), re.findall(r'include "([\w.-]+)"', text)
    assert set(defined) == set(used)


@pytest.mark.skipif(not RENDERED, reason="CHART_RENDERED is not set: make test-nightly")
def test_helm_renders_what_kubernetes_takes(tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *TOOLS], check=True)
    rendered = subprocess.run(
        [python, Path(__file__).with_name("rendering.py"), CHART], capture_output=True, text=True, check=False
    )
    assert rendered.returncode == 0, rendered.stderr
    assert json.loads(rendered.stdout) == [
        ["Deployment", "Deployment", "Job", *POLICIES, "PodDisruptionBudget", "Service"],
        ["CronJob", "Deployment", "Deployment", "HorizontalPodAutoscaler", "Ingress", "Job", *POLICIES,
         "PodDisruptionBudget", "PodMonitor", "Service"],
        ["Deployment", "Deployment", "Service"],
    ]  # fmt: skip
