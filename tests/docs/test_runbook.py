"""The runbook names metrics, settings, commands, log lines, alerts, codes and places that exist."""

from __future__ import annotations

import re

import pytest

from gateway.errors import STATUS
from tests.deploy.names import ROOT, metric_names, metrics_in, unknown_names

TEXT = (ROOT / "docs" / "runbook.md").read_text()
ALERTS = set(re.findall(r"- alert: (\w+)", (ROOT / "docs" / "alerts.yml").read_text()))
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))

_SOURCE_FOLDERS = ("access", "db", "gateway", "ledger", "resolvers")
_TITLES = set(re.findall(r"^## (.+)", (ROOT / "docs" / "operating.md").read_text(), re.MULTILINE)) | set(
    re.findall(r"^## (.+)", (ROOT / "docs" / "configuration.md").read_text(), re.MULTILINE)
)


def _sources() -> str:
    paths = sorted(path for folder in _SOURCE_FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return "\n".join(path.read_text() for path in paths)


def test_the_runbook_names_what_exists() -> None:
    metrics = metric_names()
    histograms = {name.removesuffix("_bucket") for name in metrics}
    assert metrics_in(TEXT) - metrics - histograms == set()
    assert unknown_names(TEXT) == set()
    codes = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)*)`", TEXT))
    assert {code for code in codes if not code.startswith("BILLING_")} - set(STATUS) == set()
    sources = re.sub(r'"\s*\n\s*f?"', "", _sources())
    quoted = {" ".join(text.split()) for text in re.findall(r'"([^"]+)"', re.sub(r"`[^`]*`", "", TEXT))}
    assert {text for text in quoted - _TITLES if f'"{text}"' not in sources} == set()


def test_each_alert_has_its_place() -> None:
    table = TEXT[: TEXT.index("## ")]
    assert set(re.findall(r"`(Billing\w+)`", table)) == ALERTS


@pytest.mark.parametrize("title", SECTIONS)
def test_a_section_says_what_is_seen_done_and_over(title: str) -> None:
    section = SECTIONS[title]
    assert section.lstrip().startswith("**What you see.**")
    assert "**What to do.**" in section or "**What it means and what to do**" in section
    assert "\n**It is over** when " in section
    anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
    assert f"(#{anchor})" in TEXT[: TEXT.index("## ")]
