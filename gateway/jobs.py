"""The worker's jobs, and when they run. Each job runs by itself, so that none waits for another."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from access.tokens import Tokens
from db.database import Database
from db.errors import DatabaseError, DatabaseUnavailable
from db.schema_version import check
from gateway.database_metrics import DatabaseMetrics
from gateway.databases import shard_named
from gateway.logs import shard
from gateway.metrics import BacklogGauges, PruningGauge, StripeEventGauges, VerificationGauges
from gateway.settings import Settings
from ledger.clock_watch import ClockWatch
from ledger.cycles import CycleSettlement, HoldExpiry
from ledger.posting import Clock, Ledger, utc_now
from ledger.pruning import Pruning, PruningReport
from ledger.pruning import ignore as ignore_pruned
from ledger.recharge_payments import RechargePayments
from ledger.storage import StorageBilling
from ledger.stripe.api import StripeApi
from ledger.stripe.customers import SavedCards
from ledger.stripe.events import StripeEvents
from ledger.stripe.retries import EventRetries
from ledger.verification.checkpoints import Checkpoints
from ledger.verification.nightly import NightlyVerification, Report, ignore

log = structlog.get_logger()

LOCK_CHECK_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Job:
    name: str
    run: Callable[[], Awaitable[int]]
    """Does all there is to do; returns how much that was."""


def build_jobs(
    settings: Settings,
    database: Database,
    api: StripeApi | None,
    clock: Clock = utc_now,
    watch: ClockWatch | None = None,
    report: Report = ignore,
    report_pruned: PruningReport = ignore_pruned,
) -> tuple[Job, ...]:
    ledger = Ledger(database, clock, watch)
    events = StripeEvents(database, ledger, livemode=settings.stripe_livemode(), clock=clock)
    delay = timedelta(seconds=settings.settlement_delay_seconds)
    grace = timedelta(seconds=settings.hold_grace_seconds)
    jobs = [
        Job("storage", StorageBilling(database, ledger, delay, clock).run),
        Job("cycles", CycleSettlement(database, ledger, delay, clock).run),
        Job("expiry", HoldExpiry(database, ledger, grace, clock).run),
        Job("stripe-events", EventRetries(database, events, api, clock).run),
        Job("tokens", Tokens(database, clock).delete_expired),
        Job("checkpoints", Checkpoints(database, clock).run),
        Job("verification", NightlyVerification(database, settings.verify_hour, clock, report).run),
        Job("pruning", Pruning(database, settings.request_detail_days, clock, report_pruned).run),
    ]
    if api is not None:
        jobs.append(Job("saved-cards", SavedCards(database, api, clock).run))
        jobs.append(Job("auto-recharge", RechargePayments(database, api, clock).run))
    return tuple(jobs)


class JobMetrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.rounds = Counter(
            "billing_worker_rounds", "Number of rounds of a job", ["job", "outcome"], registry=self.registry
        )
        self.done = Counter(
            "billing_worker_done", "Number of pieces of work that a job did", ["job"], registry=self.registry
        )
        self.seconds = Histogram("billing_worker_seconds", "Duration of a job's round", ["job"], registry=self.registry)
        self.is_active = Gauge(
            "billing_worker_active", "Whether this worker holds the lock: 1 or 0", registry=self.registry
        )
        self.stripe_events = StripeEventGauges(self.registry)
        self.backlog = BacklogGauges(self.registry)
        self.verification = VerificationGauges(self.registry)
        self.pruning = PruningGauge(self.registry)
        self.database = DatabaseMetrics(self.registry)
        self.clock_ahead = Gauge(
            "billing_clock_ahead_seconds",
            "How far this machine's clock was ahead of the database's clock before the last job or posting",
            registry=self.registry,
        )

    def text(self) -> bytes:
        return generate_latest(self.registry)


class Worker:
    """Works while it holds the lock, and stands by while another does."""

    def __init__(
        self,
        database: Database,
        jobs: Sequence[Job],
        interval_seconds: float,
        metrics: JobMetrics | None = None,
        watch: ClockWatch | None = None,
    ) -> None:
        self._database = database
        self._watch = watch or ClockWatch()
        self._jobs = jobs
        self._interval_seconds = interval_seconds
        self._lock = database.worker_lock()
        self.metrics = metrics or JobMetrics()

    async def once(self) -> bool | None:
        """Whether every job did its round; None where another worker holds the lock."""
        with self._shard_named():
            if not await self._lock.acquire():
                return None
            try:
                done = [await self._round(job) for job in self._jobs]
                return all(done)
            finally:
                await self._lock.release()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set: rounds that run then are ended. Raises SchemaMismatch, as `_check_tables` does."""
        with self._shard_named():
            stands_by = False
            while not stop.is_set():
                if await self._acquired():
                    stands_by = False
                    await self._work(stop)
                elif not stands_by:
                    stands_by = True
                    log.info("another worker is active: standing by")
                await _pause(stop, self._interval_seconds)
            await self._lock.release()

    @contextlib.contextmanager
    def _shard_named(self) -> Iterator[None]:
        """Has all lines of the log name the shard, if there is a set."""
        place = self._database.place
        named = shard.set(None if place is None else place.number)
        try:
            yield
        finally:
            shard.reset(named)

    async def _acquired(self) -> bool:
        try:
            return await self._lock.acquire()
        except DatabaseError as error:
            log.warning("cannot check the worker's lock", reason=str(error))
            return False

    async def _work(self, stop: asyncio.Event) -> None:
        """While the lock is held."""
        log.info("working", jobs=[job.name for job in self._jobs])
        self.metrics.is_active.set(1)
        over = asyncio.Event()
        tasks = [asyncio.create_task(self._rounds(job, over)) for job in self._jobs]
        try:
            while not stop.is_set() and await self._lock.is_held():
                await self._check_tables()
                await _pause(stop, LOCK_CHECK_SECONDS)
            if not stop.is_set():
                log.warning("worker's lock lost")
        finally:
            over.set()
            await asyncio.gather(*tasks)
            self.metrics.is_active.set(0)

    async def _check_tables(self) -> None:
        """Raises SchemaMismatch once a newer release has made tables that this program cannot work on."""
        with contextlib.suppress(DatabaseUnavailable), shard_named(self._database):
            await check(self._database)

    async def _rounds(self, job: Job, over: asyncio.Event) -> None:
        while not over.is_set():
            await self._round(job)
            await _pause(over, self._interval_seconds)

    async def _round(self, job: Job) -> bool:
        """Whether it went well: what did not is tried again at the next round."""
        started = time.perf_counter()
        done, outcome = 0, "done"
        try:
            # A wrong clock would charge cards for another day, and delete what is still to be kept.
            await self._watch.measure(self._database)
            done = await job.run()
            if job.name == "stripe-events":
                await self.metrics.stripe_events.read(self._database)
                await self.metrics.backlog.read(self._database, utc_now())
        except DatabaseError as error:
            outcome = "failed"
            log.warning("job failed", job=job.name, reason=str(error))
        except Exception as error:
            outcome = "failed"
            log.error("job failed", job=job.name, exc_info=error)
        seconds = time.perf_counter() - started
        self.metrics.rounds.labels(job.name, outcome).inc()
        self.metrics.done.labels(job.name).inc(done)
        self.metrics.seconds.labels(job.name).observe(seconds)
        if done:
            log.info("job done", job=job.name, done=done, milliseconds=round(seconds * 1000))
        return outcome == "done"


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    """Ends when `stop` is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
