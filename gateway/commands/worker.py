from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from typing import TypeAlias

import click
import structlog
import uvloop
from aiohttp import web

from db.database import Database
from gateway.commands.options import with_settings
from gateway.databases import checked_databases
from gateway.errors import RequestError
from gateway.jobs import JobMetrics, Worker, build_jobs
from gateway.listening import listening
from gateway.logs import configure_logs
from gateway.metrics import may_read_metrics, text_by_shard
from gateway.settings import Settings
from gateway.stripe_http import build_stripe_api
from ledger.clock_watch import ClockWatch
from ledger.stripe.api import StripeApi

log = structlog.get_logger()

Workers: TypeAlias = Sequence[tuple[Database, Worker]]
"""Workers of the shards, or the only one, with their databases."""


@contextlib.asynccontextmanager
async def _built(settings: Settings) -> AsyncIterator[Workers]:
    async with checked_databases(settings) as databases:
        api = build_stripe_api(settings)
        try:
            yield [(database, _worker(settings, database, api)) for database in databases]
        finally:
            if api is not None:
                await api.close()


def _worker(settings: Settings, database: Database, api: StripeApi | None) -> Worker:
    metrics = JobMetrics()
    watch = ClockWatch(report=metrics.clock_ahead.set)
    jobs = build_jobs(
        *(settings, database, api),
        watch=watch,
        report=metrics.verification.set,
        report_pruned=metrics.pruning.set,
    )
    return Worker(database, jobs, settings.worker_interval_seconds, metrics, watch)


def _metrics_text(workers: Workers) -> bytes:
    for database, worker in workers:
        worker.metrics.database.read(database)
    if len(workers) == 1:
        return workers[0][1].metrics.text()
    return text_by_shard([worker.metrics.registry for _, worker in workers])


@contextlib.asynccontextmanager
async def _metrics_served(settings: Settings, workers: Workers) -> AsyncIterator[None]:
    if not settings.worker_metrics_port:
        yield
        return

    async def metrics(request: web.Request) -> web.Response:
        token = settings.metrics_token
        try:
            may_read_metrics(request, token.get_secret_value() if token else None)
        except RequestError as error:
            raise web.HTTPForbidden(text=str(error)) from error
        return web.Response(body=_metrics_text(workers), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthz)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        with listening(settings.host, settings.worker_metrics_port):
            await web.TCPSite(runner, settings.host, settings.worker_metrics_port).start()
        yield
    finally:
        await runner.cleanup()


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with _built(settings) as workers, _metrics_served(settings, workers):
        working = asyncio.create_task(_work(workers, stop))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not working.done():
            log.info("stopping", within_seconds=settings.shutdown_seconds)
            await asyncio.wait([working], timeout=settings.shutdown_seconds)
        if not working.done():
            # A job that runs longer is rolled back, and the next worker does it again.
            working.cancel()
            await asyncio.wait([working])
        if not working.cancelled():
            working.result()


async def _work(workers: Workers, stop: asyncio.Event) -> None:
    """Works on all shards, each by itself. Raises SchemaMismatch as soon as one worker does."""
    tasks = [asyncio.create_task(worker.run(stop)) for _, worker in workers]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise


async def _once(settings: Settings) -> bool | None:
    """Whether every job did its round; None if another worker holds the lock of each shard."""
    async with _built(settings) as workers:
        outcomes = [await worker.once() for _, worker in workers]
    did = [outcome for outcome in outcomes if outcome is not None]
    return all(did) if did else None


@click.command()
@click.option("--once", is_flag=True, help="Do the work that is due, then exit.")
@with_settings(
    "database_url",
    "direct_database_url",
    "shards",
    "direct_shards",
    "host",
    "pool_size",
    "statement_timeout_seconds",
    "lock_timeout_seconds",
    "database_silence_seconds",
    "worker_interval_seconds",
    "settlement_delay_seconds",
    "hold_grace_seconds",
    "verify_hour",
    "archive_url",
    "request_detail_days",
    "worker_metrics_port",
    "stripe_api_base",
    "stripe_timeout_seconds",
    "stripe_retries",
    "shutdown_seconds",
    "log_format",
    "log_level",
)
def worker(settings: Settings, *, once: bool) -> None:
    """Run the billing worker until SIGTERM: bill storage, end cycles, recharge, expire holds, retry Stripe events,
    delete old requests.

    If several workers run on one database, one is active and the others stand by. With shards, that holds for each.
    """
    configure_logs(settings)
    if not once:
        uvloop.run(_run(settings))
        return
    outcome = uvloop.run(_once(settings))
    if outcome is None:
        click.echo("another worker is active", err=True)
    elif not outcome:
        raise click.ClickException("a job failed: see the log")
