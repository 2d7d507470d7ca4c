"""Running the server: one process, or several that share a port under a supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Final

import orjson
import structlog
import uvloop
from aiohttp import web
from prometheus_client.multiprocess import mark_process_dead
from pydantic import SecretStr

from gateway.app import build_app
from gateway.databases import check_databases, opened_databases
from gateway.file_limit import within_file_limit
from gateway.listening import listening, reserved
from gateway.memory import settle
from gateway.protocol import Runner
from gateway.services import build_services
from gateway.settings import Settings

log = structlog.get_logger()

RESTART_SECONDS: Final = 1.0
MIN_STOP_SECONDS: Final = 1.0
"""For the process to end by itself where requests have no time to finish."""
THREAD_SWITCH_SECONDS: Final = 0.0002
"""Time for which a thread keeps the interpreter's lock if another waits for it. A read of SQLite takes the lock several
times, and with Python's default of 0.005 waited as often for whatever the event loop was doing."""


async def check_schema(settings: Settings) -> None:
    """Raises SchemaMismatch or DatabaseUnavailable."""
    async with opened_databases(settings) as databases:
        for tables in await check_databases(databases):
            if tables.are_newer:
                log.warning("newer tables", reason=str(tables))


async def _serve(settings: Settings, started: Callable[[str], None]) -> None:
    settings = within_file_limit(settings)
    runner = Runner(build_app(build_services(settings)), shutdown_timeout=settings.shutdown_seconds)
    await runner.setup()
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
        _end_at_last(settings.shutdown_seconds)
    finally:
        # Closes the listening socket at once; requests that run are answered.
        await runner.cleanup()


def _end_at_last(seconds: float) -> None:
    """Ends the process if something that it waits for, such as a database that hangs, does not end in time."""

    def end() -> None:
        log.error("not stopped in time: ending", after_seconds=seconds)
        os._exit(1)

    timer = threading.Timer(max(seconds, MIN_STOP_SECONDS), end)
    timer.daemon = True
    timer.start()


def serve_here(settings: Settings, started: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT. `started` is told the address as soon as it answers."""
    settle()
    sys.setswitchinterval(THREAD_SWITCH_SECONDS)
    uvloop.run(_serve(settings, started))


class WorkerFailed(OSError):
    """A worker process ended before it listened. Its log lines say why."""


class _Worker:
    """A process of `gateway.http_process`. It gets its settings over one pipe and says over another that it listens."""

    def __init__(self, settings: bytes, environment: dict[str, str]) -> None:
        self._listening, told = os.pipe()
        command = [sys.executable, "-m", "gateway.http_process", str(told)]
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, pass_fds=(told,))  # noqa: S603  our own module
        os.close(told)
        # Arguments could be read by every user of the machine, and settings hold passwords.
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self.process.stdin as given:
            given.write(settings)

    def listens(self) -> bool:
        """Waits until it does; False if it ended before."""
        with os.fdopen(self._listening, "rb") as listening:
            return listening.read() != b""

    def unawaited(self) -> _Worker:
        os.close(self._listening)
        return self


class _Workers:
    """Worker processes on one port (SO_REUSEPORT): the kernel spreads connections over them."""

    def __init__(self, settings: Settings, metrics_dir: str) -> None:
        self._settings = settings
        self._metrics_dir = metrics_dir
        self._workers: list[_Worker] = []
        self._stopping = False

    def _start(self) -> _Worker:
        return _Worker(dump_settings(self._settings), os.environ | {"PROMETHEUS_MULTIPROC_DIR": self._metrics_dir})

    def stop(self, *_: object) -> None:
        self._stopping = True
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGTERM)

    def run(self, started: Callable[[], None]) -> None:
        """Raises WorkerFailed if one of the first processes ends before it listens."""
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        for _ in range(self._settings.workers):
            self._workers.append(self._start())
        try:
            self._await_all()
            if not self._stopping:
                started()
            self._replace_ended()
        finally:
            self.stop()
            for worker in self._workers:
                worker.process.wait()

    def _await_all(self) -> None:
        listen = [worker.listens() for worker in self._workers]
        if not self._stopping and not all(listen):
            raise WorkerFailed("a worker process ended before it listened: its log lines say why")

    def _replace_ended(self) -> None:
        while not self._stopping:
            time.sleep(0.2)
            for number, worker in enumerate(self._workers):
                if worker.process.poll() is not None and not self._stopping:
                    self._workers[number] = self._replaced(worker)

    def _replaced(self, ended: _Worker) -> _Worker:
        log.error("worker process ended: starting another", status=ended.process.returncode)
        # Without this, gauges of the ended process, such as its number of subscribers, would be counted for ever.
        mark_process_dead(ended.process.pid, self._metrics_dir)  # type: ignore[no-untyped-call]
        time.sleep(RESTART_SECONDS)
        return self._start().unawaited()


def dump_settings(settings: Settings) -> bytes:
    values = settings.model_dump()
    return orjson.dumps(
        {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in values.items()}
    )


def serve_workers(settings: Settings, started: Callable[[str], None]) -> None:
    metrics_dir = tempfile.mkdtemp(prefix="billing-metrics-")
    try:
        with reserved(settings.host, settings.port):
            _Workers(settings, metrics_dir).run(lambda: started(f"http://{settings.host}:{settings.port}"))
    finally:
        shutil.rmtree(metrics_dir, ignore_errors=True)
