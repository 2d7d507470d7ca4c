"""The developer's account: four months of trying things out, paid by card now and then."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Final

from demo.calls import BGE_M3, DEEPSEEK_V3, GPT_OSS, QWEN3_32B, UsageDays, billed, hourly_batches, some_calls
from demo.machines import A100, H100, L40S, RTX_4090, GpuInstance, gpu_run
from demo.scenes import Customer, Refill, Scene, topup, within_month
from ledger.money import NANOS

DAYS: Final = 122
SIGNUP_BONUS_NANOS: Final = 25 * NANOS
_CUSTOMER: Final = "cus_demo_developer"
_FIRST_INSTANCE: Final = 132
_MODELS: Final = (DEEPSEEK_V3, GPT_OSS, QWEN3_32B, BGE_M3)
_OFFERS: Final = ((RTX_4090, 1, 1), (RTX_4090, 1, 2), (RTX_4090, 2, 4), (L40S, 1, 3), (A100, 1, 2), (H100, 1, 1))


def refill(rng: Random) -> Refill:
    return Refill(12 * NANOS, timedelta(minutes=7), lambda at: topup(rng, at, _CUSTOMER, rng.choice((20, 25, 50, 100))))


def scenes(rng: Random, usage: UsageDays, now: datetime) -> Iterator[Scene]:
    start = now - timedelta(days=DAYS)
    yield Scene(start + timedelta(hours=3), Customer(_CUSTOMER))
    yield topup(rng, start + timedelta(hours=3), _CUSTOMER, 50)
    yield from _instances(rng, start, now)
    yield from _calls(rng, usage, start + timedelta(hours=4), now)


def _instances(rng: Random, start: datetime, now: datetime) -> Iterator[Scene]:
    number = _FIRST_INSTANCE
    for day in range(1, DAYS - 1):
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            gpu, gpus, hours = rng.choice(_OFFERS)
            started_at = start + timedelta(days=day, seconds=rng.randrange(86_400))
            yield from gpu_run(rng, GpuInstance(number, gpu, gpus, hours, started_at), now)
            number += rng.randrange(1, 4)
    running = GpuInstance(number, RTX_4090, 1, 1, within_month(now, timedelta(minutes=25)))
    yield running.started()


def _calls(rng: Random, usage: UsageDays, first: datetime, now: datetime) -> Iterator[Scene]:
    batches = list(hourly_batches(first, now))
    for place, batch in enumerate(batches):
        hour = batch.period.start.hour
        present = place >= len(batches) - 2
        if present or (8 <= hour < 20 and rng.random() < 0.17):
            calls = some_calls(rng, rng.choice(_MODELS), 300)
            usage.add(batch, calls)
            yield billed(calls, batch, usage.caller(batch, calls.model))
