"""What the page weighs on the wire: a bound that a new part has to stay under."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Final

MOST_BYTES: Final = 60_000
MOST_AT_FIRST_BYTES: Final = 38_000
"""Before the Usage tab asks for the charts."""


def _weights(built: Path) -> dict[str, int]:
    """Of each file that the page loads, compressed by gzip."""
    loaded = [path for path in built.iterdir() if path.suffix in {".js", ".css"}]
    files = {path.name: path.with_name(f"{path.name}.gz").stat().st_size for path in loaded}
    return {"index.html": len(gzip.compress((built / "index.html").read_bytes())), **files}


def test_the_whole_page_stays_under_its_bound(built: Path) -> None:
    weights = _weights(built)
    assert len(weights) >= 4
    assert sum(weights.values()) < MOST_BYTES, weights
    charts = [name for name in weights if name.startswith("chart-")]
    assert len(charts) == 1
    assert sum(weights.values()) - weights[charts[0]] < MOST_AT_FIRST_BYTES, weights


def test_every_script_and_style_has_compressed_siblings(built: Path) -> None:
    names = {path.name for path in built.iterdir()}
    for name in [one for one in names if one.endswith((".js", ".css"))]:
        assert {f"{name}.gz", f"{name}.br"} <= names
