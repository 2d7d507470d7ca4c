"""What the page weighs on the wire: a bound that a new part has to stay under."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 75_000
MOST_AT_FIRST_BYTES: Final = 41_500
"""Before another tab asks for its part, that one for the charts, and a button for its form."""
LATE: Final = ("chart-*.js", "managing-*.js", "panels-*.js")
LANGUAGES: Final = ("en-*.js", "de-*.js", "ja-*.js")
"""Fetched by readers of that language, and by nobody else."""


def _weights(built: Path) -> dict[str, int]:
    """Of each file that the page loads, compressed by gzip."""
    page = (built / "index.html").read_text()
    loaded = [name for name in re.findall(r"/static/billing/([\w.-]+\.(?:js|css))", page) if (built / name).is_file()]
    # These are asked for by the page's script.
    loaded += [path.name for pattern in LATE for path in built.glob(pattern)]
    files = {name: (built / f"{name}.gz").stat().st_size for name in loaded}
    return {"index.html": len(gzip.compress(page.encode())), **files}


def test_the_whole_page_stays_under_its_bound(built: Path) -> None:
    weights = _weights(built)
    others = {path.name for pattern in LANGUAGES for path in built.glob(pattern)}
    assert len(others) == len(LANGUAGES)
    assert {path.name for path in built.glob("*.js")} - others < set(weights)
    assert len(weights) == 7, weights
    assert sum(weights.values()) < MOST_BYTES, weights
    # A language comes on top for its readers.
    heaviest = max((built / f"{name}.gz").stat().st_size for name in others)
    assert sum(weights.values()) + heaviest < MOST_BYTES, heaviest
    late = [path.name for pattern in LATE for path in built.glob(pattern)]
    assert len(late) == 3
    assert sum(weights.values()) - sum(weights[name] for name in late) < MOST_AT_FIRST_BYTES, weights


def test_every_script_and_style_has_compressed_siblings(built: Path) -> None:
    names = {path.name for path in built.iterdir()}
    for name in [one for one in names if one.endswith((".js", ".css"))]:
        assert {f"{name}.gz", f"{name}.br"} <= names
