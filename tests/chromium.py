"""Debian's Chromium, driven by Playwright.

The headless shell has no windows, tabs or pages of the browser's own: it opens a page for half of the whole browser's
CPU time. `TEST_BROWSER=chromium` drives the whole browser.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Browser, async_playwright

NAME: Final = os.environ.get("TEST_BROWSER", "chromium-headless-shell")
PATH: Final = Path("/usr/lib/chromium", NAME)
"""The program itself: the scripts in /usr/bin add flags that have it draw as if there were a graphics card."""
ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextlib.asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    if not PATH.exists():
        pytest.fail(f"{PATH} is missing: install Debian's package {NAME}")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(PATH), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()
