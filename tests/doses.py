"""Doses: how much a test does of what could go on for ever, in `make test` and in `make test-nightly`."""

from __future__ import annotations

import os
from typing import Final

IS_NIGHTLY: Final = "NIGHTLY" in os.environ


def dose(daily: int, nightly: int) -> int:
    return nightly if IS_NIGHTLY else daily
