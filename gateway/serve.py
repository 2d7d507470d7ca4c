"""Running the server: one process, or several that share a port under a supervisor."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Final

import orjson
import structlog
import uvloop
from aiohttp import web
from pydantic import SecretStr

from db.schema_version import check
from gateway.app import build_app
from gateway.databases import open_database
from gateway.listening import listening, reserved
from gateway.memory import settle, use_huge_pages
from gateway.protocol import Runner
from gateway.services import build_services
from gateway.settings import Settings

log = structlog.get_logger()

RESTART_SECONDS: Final = 1.0


async def check_schema(settings: Settings) -> None:
    """Raises SchemaMismatch or DatabaseUnavailable."""
    database = open_database(settings)
    try:
        tables = await check(database)
        if tables.are_newer:
            log.warning("newer tables", reason=str(tables))
    finally:
        await database.close()


async def _serve(settings: Settings, started: Callable[[str], None]) -> None:
    runner = Runner(build_app(build_services(settings)), shutdown_timeout=settings.shutdown_seconds)
    await runner.setup()
    if settings.huge_pages:
        use_huge_pages()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        site = web.TCPSite(runner, settings.host, settings.port, reuse_port=settings.workers > 1 or None)
        with listening(settings.host, settings.port):
            await site.start()
        host, port = runner.addresses[0][:2]
        started(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
        await stop.wait()
        log.info("stopping", within_seconds=settings.shutdown_seconds)
    finally:
        # Closes the listening socket at once; requests that run are answered.
        await runner.cleanup()


def serve_here(settings: Settings, started: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT. `started` is told the address as soon as it answers."""
    settle()
    uvloop.run(_serve(settings, started))


class _Workers:
    """Worker processes on one port (SO_REUSEPORT): the kernel spreads connections over them."""

    def __init__(self, settings: Settings, metrics_dir: str) -> None:
        self._settings = settings
        self._environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": metrics_dir}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stopping = False

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "gateway.http_process"]
        process = subprocess.Popen(command, env=self._environment, stdin=subprocess.PIPE)  # noqa: S603  our own module
        assert process.stdin is not None
        # Over a pipe: arguments could be read by every user of the machine, and hold passwords.
        process.stdin.write(dump_settings(self._settings))
        process.stdin.close()
        return process

    def stop(self, *_: object) -> None:
        self._stopping = True
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)

    def run(self) -> None:
        self._processes = [self._start() for _ in range(self._settings.workers)]
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        while not self._stopping:
            time.sleep(0.2)
            for number, process in enumerate(self._processes):
                if process.poll() is not None and not self._stopping:
                    log.error("worker process ended: starting another", status=process.returncode)
                    time.sleep(RESTART_SECONDS)
                    self._processes[number] = self._start()
        self.stop()
        for process in self._processes:
            process.wait()


def dump_settings(settings: Settings) -> bytes:
    values = settings.model_dump()
    return orjson.dumps(
        {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in values.items()}
    )


def serve_workers(settings: Settings, started: Callable[[str], None]) -> None:
    metrics_dir = tempfile.mkdtemp(prefix="billing-metrics-")
    try:
        with reserved(settings.host, settings.port):
            started(f"http://{settings.host}:{settings.port}")
            _Workers(settings, metrics_dir).run()
    finally:
        shutil.rmtree(metrics_dir, ignore_errors=True)
