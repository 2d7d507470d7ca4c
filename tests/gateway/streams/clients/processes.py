"""The processes that take part: gateways that are killed and started again, and posters that write beside them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Final

from aiohttp import ClientError, ClientSession

from tests.ports import free_port

ROOT: Final = Path(__file__).parents[4]
START_SECONDS: Final = 180
"""For a machine on which much else runs."""


class GatewayProcess:
    """`billing-gateway serve`, at the same address whenever it runs."""

    def __init__(self, database_url: str, folder: Path, module: str = "gateway.cli", **settings: object) -> None:
        self._module = module
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"gateway-{self.port}.log"
        given = {"database_url": database_url, "port": self.port, **settings}
        self._environment = os.environ | {f"BILLING_{name.upper()}": str(value) for name, value in given.items()}
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module, "serve", cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        async with ClientSession() as session, asyncio.timeout(START_SECONDS):
            while not await self._is_ready(session):
                assert self._process.returncode is None, self.log.read_text()[-2000:]
                await asyncio.sleep(0.05)

    async def _is_ready(self, session: ClientSession) -> bool:
        try:
            async with session.get(f"{self.address}/readyz") as response:
                return response.status == 200
        except ClientError:
            return False

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.send_signal(number)
            await process.wait()


class PosterProcess:
    """See `poster.py`."""

    def __init__(self, url: str, name: str, account_ids: list[int], *, writers: int, rows_a_second: float) -> None:
        self._url = url
        self._name = name
        self._account_ids = account_ids
        self._writers = writers
        self._rows_a_second = rows_a_second
        self._lives = 0
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[bytes]
        self.acknowledged: set[str] = set()
        """Ids of rows."""

    async def start(self, dies_after: int = 0) -> None:
        self._lives += 1
        arguments = (
            self._url, f"{self._name}-{self._lives}", self._writers, self._rows_a_second, dies_after, *self._account_ids
        )  # fmt: skip
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.gateway.streams.clients.poster", *map(str, arguments),
            cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._reading = asyncio.create_task(self._process.stdout.read())

    async def died(self) -> None:
        """Waits until it has killed itself."""
        await self._ended(-signal.SIGKILL)

    async def stop(self) -> None:
        """All that it began to write is written."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._ended(0)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._ended(-signal.SIGKILL)

    async def _ended(self, status: int) -> None:
        assert self._process is not None
        assert await self._process.wait() == status
        self._process = None
        await self._count()

    async def _count(self) -> None:
        # The last line may be cut off, and what isn't printed whole isn't acknowledged.
        self.acknowledged.update((await self._reading).decode().split("\n")[:-1])
