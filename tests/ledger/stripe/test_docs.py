"""The guide for operators names the events that the program reads, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from ledger.stripe.notices import BONUS, CONTRACT, EVENT_TYPES

GUIDE = (Path(__file__).parents[3] / "docs/stripe.md").read_text()


def test_the_guide_lists_the_events() -> None:
    lines = [line for line in GUIDE.splitlines() if line.startswith("| `") and "." in line.split("|")[1]]
    listed = [name for line in lines for name in re.findall(r"`([a-z_.]+)`", line.split("|")[1])]
    assert sorted(listed) == list(EVENT_TYPES)


def test_the_guide_names_the_metadata_of_contracts() -> None:
    assert f"| `{CONTRACT}` |" in GUIDE
    assert f"| `{BONUS}` |" in GUIDE
