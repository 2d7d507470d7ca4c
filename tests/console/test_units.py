"""The page's own types, which `make check` checks as well, and unit tests, which Node's runner runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.doses import IS_NIGHTLY

ROOT = Path(__file__).parents[2]


def test_types_and_units_of_the_page() -> None:
    command = [sys.executable, str(ROOT / "console" / "build.py"), "test", *([] if IS_NIGHTLY else ["--units"])]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
