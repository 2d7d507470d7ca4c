"""Names that files of deploy and pages of docs may use: settings, commands and metrics, from the code itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click
from prometheus_client import CollectorRegistry

from gateway.cli import cli
from gateway.jobs import JobMetrics
from gateway.metrics import Metrics
from gateway.settings import Settings

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"

SETTINGS: Final = {f"BILLING_{name.upper()}" for name in Settings.model_fields}
COMMANDS: Final = set(cli.list_commands(click.Context(cli)))
_NO_SETTINGS: Final = {"BILLING_DATABASE_PASSWORD"}
"""Variables of deploy/compose.yaml itself."""


def _names(registry: CollectorRegistry) -> set[str]:
    found = set()
    for metric in registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(metric.type, ("",))
        found |= {metric.name + suffix for suffix in suffixes}
    return found


def metric_names() -> set[str]:
    """Returns the names of all series that the gateway and the worker have."""
    return _names(Metrics().registry) | _names(JobMetrics().registry)


def metrics_in(text: str) -> set[str]:
    return set(re.findall(r"\bbilling_[a-z_]+", text))


def unknown_names(text: str) -> set[str]:
    """Returns settings and commands in the text that do not exist."""
    settings = set(re.findall(r"\bBILLING_[A-Z_]*[A-Z]\b", text)) - _NO_SETTINGS
    commands = set(re.findall(r"(?:bin/|\$ |^|`)billing-gateway ([a-z][a-z-]*)", text, re.MULTILINE))
    return settings - SETTINGS | commands - COMMANDS
