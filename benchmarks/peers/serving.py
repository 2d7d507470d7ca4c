"""`python -m benchmarks.peers.<name> PORT DATABASE_URL`: one process with uvloop, as the gateway runs."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

import uvloop
from aiohttp import web

Build = Callable[[str], Awaitable[web.Application]]
"""From the database's URL to the application."""


async def _serve(build: Build, port: int, url: str) -> None:
    runner = web.AppRunner(await build(url), access_log=None)
    await runner.setup()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await stop.wait()
    finally:
        await runner.cleanup()


def main(build: Build) -> None:
    port, url = sys.argv[1:]
    uvloop.run(_serve(build, int(port), url))
