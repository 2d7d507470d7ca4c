from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from db.database import Database, DatabaseOptions, sqlite_url
from db.schema_version import migrate
from demo.story import tell
from tests.chromium import launched
from tests.console.gateways import STORY_ROWS, Gateway

ROOT: Final = Path(__file__).parents[2]
BUILT: Final = ROOT / "gateway" / "static" / "billing"
TIMEOUT_MILLISECONDS: Final = 30_000
LAST_OF_A_DAY: Final = timedelta(seconds=100)
KEY_ENDED: Final = re.compile("has expired or was revoked")
"""Said by the stream, or by a query that was refused before."""

# Of expectations too, which have one of their own: on a machine that does other things a page takes its time.
expect.set_options(timeout=TIMEOUT_MILLISECONDS)


@pytest.fixture(autouse=True)
async def within_a_day() -> None:
    """Waits for the next day if this one is about to end: what a test expects is of one day, and so is what it sees."""
    now = datetime.now(UTC)
    midnight = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
    if midnight - now < LAST_OF_A_DAY:
        await asyncio.sleep((midnight - now).total_seconds() + 1)


@pytest.fixture(scope="session")
def built() -> Path:
    if not (BUILT / "index.html").is_file():
        pytest.fail("the Billing page is not built: run `make pages`")
    return BUILT


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with launched() as browser:
        yield browser


@pytest.fixture(scope="session")
async def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The file with the demo's story, which the processes that run tests share, and the account that is looked at."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path, account = folder / "story.db", folder / "story.account"
    with (folder / "story.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not account.exists():
            database = Database(DatabaseOptions(sqlite_url(path)))
            await migrate(database)
            told = await tell(database, datetime.now(UTC), STORY_ROWS)
            await database.close()
            account.write_text(str(told.account_ids[1]))
    return path, int(account.read_text())


async def _started(story: tuple[Path, int], folder: Path) -> Gateway:
    path, account = story
    shutil.copy(path, folder / "billing.db")
    gateway = Gateway(sqlite_url(folder / "billing.db"), account)
    await gateway.start()
    return gateway


@pytest.fixture
async def own_gateway(built: Path, story: tuple[Path, int], tmp_path: Path) -> AsyncIterator[Gateway]:
    gateway = await _started(story, tmp_path)
    yield gateway
    await gateway.stop()


@pytest.fixture(scope="package")
async def shared_gateway(
    built: Path, story: tuple[Path, int], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    gateway = await _started(story, tmp_path_factory.mktemp("shared"))
    yield gateway
    await gateway.stop()


@pytest.fixture
def gateway(request: pytest.FixtureRequest) -> Gateway:
    """A gateway of the test's own, or the one of all tests marked `shared_gateway`: those change nothing of the story's
    accounts, stop nothing, and do not count accounts."""
    shared = request.node.get_closest_marker("shared_gateway") is not None
    found: Gateway = request.getfixturevalue("shared_gateway" if shared else "own_gateway")
    return found


@dataclass(slots=True)
class Watched:
    """What the pages of a test asked for and complained of."""

    addresses: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    expected: re.Pattern[str] | None = None
    """Complaints that the test provokes: the browser reports each answer of 400 and above."""


@pytest.fixture
def watched() -> Watched:
    return Watched()


Open = Callable[..., Awaitable[Page]]


async def eventually(read: Callable[[], Awaitable[object]], expected: object) -> None:
    """Waits until what is read is as expected: `expect` for what no matcher of Playwright's compares."""
    for _ in range(TIMEOUT_MILLISECONDS // 50):
        if await read() == expected:
            return
        await asyncio.sleep(0.05)
    assert await read() == expected


@pytest.fixture
async def open_page(browser: Browser, gateway: Gateway, watched: Watched) -> AsyncIterator[Open]:
    """Opens the page at a path, signed in with a key unless that is None. Nothing may go elsewhere or go wrong."""
    contexts: list[BrowserContext] = []

    async def opened(
        path: str = "",
        *,
        key: str | None,
        scheme: Literal["light", "dark"] = "light",
        width: int = 1280,
        height: int = 900,
        **options: Any,
    ) -> Page:
        context = await browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce", **options
        )
        contexts.append(context)
        page = await context.new_page()
        page.set_default_timeout(TIMEOUT_MILLISECONDS)
        watch(page, watched)
        await page.add_init_script(
            "addEventListener('securitypolicyviolation', e => console.error('policy', e.violatedDirective))"
        )
        if key is not None:
            # Once: a page that was signed out stays so.
            await page.add_init_script(
                "if (!sessionStorage.getItem('test.given')) {"
                f" sessionStorage.setItem('test.given', '1'); sessionStorage.setItem('billing.key', '{key}') }}"
            )
        await page.goto(f"{gateway.url}/console/{path}")
        return page

    yield opened
    for context in contexts:
        await context.close()
    elsewhere = [one for one in watched.addresses if not one.startswith((gateway.url, f"ws{gateway.url[4:]}"))]
    assert elsewhere == []
    assert [one for one in watched.addresses if "eco_" in one] == []
    assert [one for one in watched.complaints if not (watched.expected and watched.expected.search(one))] == []


def watch(page: Page, watched: Watched) -> None:
    page.on("request", lambda request: watched.addresses.append(request.url))
    page.on("websocket", lambda socket: watched.addresses.append(socket.url))
    page.on(
        "console",
        lambda message: watched.complaints.append(message.text) if message.type in {"error", "warning"} else None,
    )
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
