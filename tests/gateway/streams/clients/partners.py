"""Partners: the examples of the guide, run as they stand, and what each of them has received."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
from abc import ABC, abstractmethod
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from playwright.async_api import Browser, BrowserContext
from playwright.async_api import Page as BrowserPage

from console.build import find_node
from tests.gateway.streams.clients.processes import ROOT

EXAMPLES: Final = ROOT / "docs" / "examples"
END_SECONDS: Final = 30
ARRIVAL_SECONDS: Final = 90


class Received(NamedTuple):
    id: str
    amount: str
    balance: str


class Partner(ABC):
    """Follows one account, writes down what it receives, and knows its place when it is started anew."""

    name: str

    @abstractmethod
    async def start(self) -> None: ...

    @abstractmethod
    async def kill(self) -> None: ...

    @abstractmethod
    async def received(self) -> list[Received]: ...

    @abstractmethod
    async def has_begun(self) -> bool:
        """Has a place in the ledger to go on from: from then on it must miss nothing."""

    async def began(self) -> None:
        async with asyncio.timeout(END_SECONDS):
            while True:
                if await self.has_begun():
                    return
                await asyncio.sleep(0.05)

    async def has_received(self, row: Received) -> None:
        """Waits for it."""
        async with asyncio.timeout(ARRIVAL_SECONDS):
            while True:
                if row in await self.received():
                    return
                await asyncio.sleep(0.1)


class Program(Partner):
    """A process; its rows go to standard output."""

    def __init__(self, name: str, address: str, key: str, folder: Path) -> None:
        self.name = name
        self._rows = folder / f"{name}.rows"
        self._place = folder / f"{name}.cursor"
        self._said = folder / f"{name}.said"
        self._environment = os.environ | {
            "URL": address, "KEY": key, "CURSOR_FILE": str(self._place), "STORE": str(self._place)
        }  # fmt: skip
        self._process: asyncio.subprocess.Process | None = None

    def _command(self) -> list[str]:
        if self.name.endswith(".mjs"):
            return [str(find_node().node), self.name]
        return ["bash" if self.name.endswith(".sh") else sys.executable, self.name]

    async def start(self) -> None:
        with self._rows.open("ab") as rows, self._said.open("ab") as said:
            self._process = await asyncio.create_subprocess_exec(
                *self._command(), cwd=EXAMPLES, env=self._environment, stdout=rows, stderr=said, start_new_session=True
            )

    async def has_begun(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, self.said
        return self._place.exists() and self._place.stat().st_size > 0

    async def kill(self) -> None:
        """And whatever it started."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    async def ended(self) -> int:
        """The status that it ends with by itself."""
        assert self._process is not None
        async with asyncio.timeout(END_SECONDS):
            return await self._process.wait()

    @property
    def said(self) -> str:
        """On standard error."""
        return self._said.read_text()

    async def received(self) -> list[Received]:
        lines = [json.loads(line) for line in self._rows.read_text().splitlines()]
        changes = [line.get("data", {}).get("balanceChanged", line) for line in lines]
        return [Received(one["transaction"]["id"], one["transaction"]["amount"], one["balance"]) for one in changes]


class StoringProgram(Program):
    """Keeps rows and cursor in one SQLite file."""

    async def has_begun(self) -> bool:
        return bool(self._read("SELECT cursor FROM place"))

    async def received(self) -> list[Received]:
        return [Received(*row) for row in self._read("SELECT id, amount, balance FROM rows ORDER BY number")]

    def _read(self, statement: str) -> list[tuple[str, ...]]:
        if not self._place.exists():
            return []
        with closing(sqlite3.connect(self._place, timeout=ARRIVAL_SECONDS)) as connection:
            tables = connection.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'table'").fetchone()
            return connection.execute(statement).fetchall() if tables == (2,) else []


class Page(Partner):
    """A page of the gateway's origin; what it kept for itself stays when it is closed."""

    name = "follow-eventsource.html"

    def __init__(self, browser: Browser, address: str, key: str) -> None:
        self._browser = browser
        self._address = f"{address}/partner.html"
        self._key = key
        self._context: BrowserContext | None = None
        self._page: BrowserPage | None = None

    async def start(self) -> None:
        if self._context is None:
            self._context = await self._browser.new_context()
            await self._context.route(self._address, lambda route: route.fulfill(path=EXAMPLES / self.name))
            await self._context.add_init_script(_WRITE_DOWN)
        self._page = await self._context.new_page()
        await self._page.goto(self._address)
        await self.page.get_by_label("API key").fill(self._key)
        await self.page.keyboard.press("Enter")

    @property
    def page(self) -> BrowserPage:
        assert self._page is not None
        return self._page

    async def kill(self) -> None:
        if self._page is not None:
            await self._page.close()

    async def leave(self) -> None:
        if self._context is not None:
            await self._context.close()

    async def has_begun(self) -> bool:
        return bool(await self.page.evaluate("Object.keys(localStorage).some((name) => name.startsWith('cursor'))"))

    async def received(self) -> list[Received]:
        found = await self.page.evaluate("JSON.parse(localStorage.received ?? '[]')")
        return [Received(*row) for row in found]


_WRITE_DOWN: Final = """
new MutationObserver((records) => {
  const items = records.flatMap(({ addedNodes }) => [...addedNodes]).filter(({ nodeName }) => nodeName === 'LI');
  const balance = document.querySelector('output')?.value;
  const rows = items.map(({ dataset, textContent }) => [dataset.id, textContent.split(' ')[0], balance]);
  if (rows.length) {
    localStorage.received = JSON.stringify([...JSON.parse(localStorage.received ?? '[]'), ...rows]);
  }
}).observe(document, { childList: true, subtree: true });
"""

PROGRAMS: Final = {
    "follow-graphql-ws.mjs": Program,
    "follow-graphql-sse.mjs": Program,
    "follow_gql.py": StoringProgram,
    "follow-curl.sh": Program,
}
