"""Limits of a key: points per second (`gateway/rates.py`, `gateway/shared_rates.py`) and slots (`gateway/slots.py`)."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from access.keys import BURST_SECONDS, KeyScope, Principal
from db.connections.urls import driver_url
from gateway.activity import Activity
from gateway.metrics import Metrics
from gateway.rates import Balance, Buckets, Rate, RateExceeded, TooCostly
from gateway.settings import Settings
from gateway.slots import Claim, Kind, Share, SlotLimits, Slots

if TYPE_CHECKING:
    from gateway.shared_rates import SharedBuckets

HEAVY_POINTS = 500
"""Operations that cost more are heavy: a key runs few of them at the same time."""
EXPORT_STEPS_OF_KEY = 2
"""One export reads so many ahead if no other customer is active. More exports of a key take turns, and leave others
the processor."""
EXPORT_STEPS_OF_ACCOUNT = 3


class Admission:
    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._max_points = settings.max_cost
        self._rates = {scope: _rate(settings.points_per_second) for scope in (KeyScope.READ, KeyScope.MANAGE)}
        self._rates[KeyScope.OPERATOR] = _rate(settings.operator_points_per_second)
        self._rates[KeyScope.SERVICE] = _rate(settings.service_points_per_second)
        self._buckets = Buckets()
        self._shared = _shared(settings, metrics, self._buckets)
        self._activity = Activity()
        self.slots = Slots(_limits(settings), metrics.refused.labels("queue").inc, self._activity.is_alone)
        self._metrics = metrics

    def rate_of(self, principal: Principal) -> Rate:
        """Returns the rate that an operator has set for the key, or that of its scope."""
        return self._rates[principal.scope] if principal.rate is None else Rate(*principal.rate)

    async def spend(self, principal: Principal, points: float) -> Balance:
        """Raises TooCostly and RateExceeded."""
        if points > self._max_points:
            self._metrics.refused.labels("too_costly").inc()
            raise TooCostly(int(points), self._max_points)
        key, rate = principal.key_prefix, self.rate_of(principal)
        self._activity.note(Claim(key, principal.account_id).customer)
        try:
            if self._shared is None:
                return self._buckets.spend(key, points, rate)
            return await self._shared.spend(key, points, rate)
        except RateExceeded:
            self._metrics.refused.labels("rate").inc()
            raise

    def slot(
        self, principal: Principal, points: float, *, is_export_step: bool = False
    ) -> AbstractAsyncContextManager[None]:
        """Runs what is read within. Raises QueueFull."""
        kind = Kind.EXPORT_STEP if is_export_step else Kind.HEAVY if points > HEAVY_POINTS else Kind.LIGHT
        return self.slots.taken(Claim(principal.key_prefix, principal.account_id, kind))

    async def open(self) -> None:
        if self._shared is not None:
            await self._shared.open()

    async def close(self) -> None:
        if self._shared is not None:
            await self._shared.close()


def _shared(settings: Settings, metrics: Metrics, own: Buckets) -> SharedBuckets | None:
    """Redis' client costs every process memory: only those that use it import it."""
    if settings.rate_limit_url is None:
        return None
    from gateway.shared_rates import SharedBuckets

    url = settings.rate_limit_url.get_secret_value()
    return SharedBuckets(url, settings.rate_limit_timeout_seconds, own, metrics.rate_limit_fallbacks.inc)


def _rate(points_per_second: int) -> Rate:
    return Rate(points_per_second, points_per_second * BURST_SECONDS)


def _limits(settings: Settings) -> SlotLimits:
    total = settings.pool_size
    return SlotLimits(
        total=total,
        of_key=min(settings.slots_per_key, total),
        of_account=min(settings.slots_per_account, total),
        of_kind={Kind.HEAVY: Share(1, 2, beside_others=2, of_process=total), Kind.EXPORT_STEP: _export_steps(settings)},
        queue=settings.queue_per_key,
        wait_seconds=settings.lock_timeout_seconds,
    )


def _export_steps(settings: Settings) -> Share:
    of_process = max(1, settings.pool_size // 2)
    if driver_url(settings.database_url).get_backend_name() == "sqlite":
        # SQLite reads in this process: more steps at once than processors are not faster. Two of an account are even
        # slower, as they wait for each other at the allocator's lock.
        return Share(1, 1, beside_others=1, of_process=min(of_process, max(2, os.cpu_count() or 1)))
    return Share(EXPORT_STEPS_OF_KEY, EXPORT_STEPS_OF_ACCOUNT, beside_others=1, of_process=of_process)
