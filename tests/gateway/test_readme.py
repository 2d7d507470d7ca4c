"""README's section on PostgreSQL, followed word for word, ends with the Billing page in a browser."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from aiohttp import ClientConnectorError, ClientSession
from playwright.async_api import expect

from tests.chromium import launched
from tests.doses import IS_NIGHTLY
from tests.ports import free_port
from tests.postgres import Postgres

ROOT: Final = Path(__file__).parents[2]
URL: Final = "postgresql://user:password@host/billing"
PORT: Final = "--port 8000"


def section() -> str:
    (found,) = re.findall(
        r"^## On PostgreSQL\n\n```\n(.*?)```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    return str(found)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that git keeps, as they are now. By day the pages that `make pages` built are there, too: the build
    leaves them alone. At night they are built with packages of the npm registry."""
    kept = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in kept.decode().split("\0"):
        if name and (ROOT / name).is_file():
            target = tmp_path / "checkout" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    if not IS_NIGHTLY:
        shutil.copytree(ROOT / "gateway" / "static", tmp_path / "checkout" / "gateway" / "static", dirs_exist_ok=True)
    return tmp_path / "checkout"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A user's. By day pip finds all requirements installed, those of this process; at night it installs them."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("BILLING_", "VIRTUAL_ENV"))}
    if IS_NIGHTLY:
        return clean
    packages = tmp_path / "packages"
    packages.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith("billing_gateway-") and path.suffix != ".pth":
            (packages / path.name).symlink_to(path)
    return clean | {"PYTHONPATH": str(packages), "PIP_NO_COMPILE": "1"}


class Shell:
    """Runs the lines as a user's shell does, and goes on while the last one serves."""

    def __init__(self, script: str, folder: Path, environment: dict[str, str]) -> None:
        self._log = folder.parent / "printed.txt"
        with self._log.open("wb") as file:
            self._process = subprocess.Popen(
                ["bash", "-euc", script],
                cwd=folder,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def printed(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, pattern: str, seconds: float) -> str:
        """The first match in what was printed."""
        for _ in range(int(seconds * 5)):
            found = re.search(pattern, self.printed())
            if found:
                return found.group()
            try:
                status = self._process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
            pytest.fail(f"ended with {status}: {self.printed()[-3000:]}")
        pytest.fail(f"{pattern} was not printed: {self.printed()[-3000:]}")

    def stop(self) -> None:
        # Of a session of its own, which this test started.
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(30)


@pytest.fixture
async def shell(
    checkout: Path, environment: dict[str, str], postgres_server: Postgres
) -> AsyncIterator[tuple[Shell, str]]:
    port, database = free_port(), await postgres_server.new_database()
    script = section()
    assert URL in script
    assert PORT in script
    script = script.replace(URL, f"'{postgres_server.url(database)}'").replace(PORT, f"--port {port}")
    shell = Shell(script, checkout, environment)
    yield shell, f"http://127.0.0.1:{port}"
    shell.stop()
    await postgres_server.drop(database)


async def ready(address: str) -> None:
    async with ClientSession() as session:
        for _ in range(150):
            with contextlib.suppress(ClientConnectorError):
                async with session.get(f"{address}/readyz") as response:
                    assert response.status == 200
                    return
            await asyncio.sleep(0.2)
    pytest.fail("the gateway did not answer")


async def test_the_section_on_postgresql_ends_with_the_billing_page(shell: tuple[Shell, str]) -> None:
    running, address = shell
    key = running.wait_for(r"eco_[a-z0-9]{8}_[\w-]+", 400)
    await ready(address)
    async with launched() as browser:
        page = await browser.new_page()
        await page.goto(f"{address}/console/")
        await page.get_by_label("API key").fill(key)
        await page.keyboard.press("Enter")
        balance = page.get_by_role("region", name="Credit balance").locator(".figure")
        await expect(balance).to_have_text("$0.00", timeout=30_000)
        await expect(page.get_by_text("No money has moved yet.")).to_be_visible()
    assert "page not built" not in running.printed()
