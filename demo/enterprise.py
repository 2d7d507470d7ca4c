"""The enterprise account: thirteen months on a contract, with exactly as many rows as are asked for."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Final

from demo.calls import (
    BGE_M3,
    BUSY,
    DEEPSEEK_R1,
    DEEPSEEK_V3,
    FLUX,
    GPT_OSS,
    LLAMA_70B,
    MISTRAL_SMALL,
    QWEN3_235B,
    WHISPER,
    UsageDays,
    billed,
    hourly_batches,
    some_calls,
)
from demo.machines import A100, H100, H200, GpuInstance, gpu_run
from demo.scenes import Customer, Operated, Scene, in_order, stripe_id, within_month
from ledger.grants import contract
from ledger.money import NANOS
from ledger.stripe.notices import ContractPaid

DAYS: Final = 400
LEAST_ROWS: Final = 100
MOST_ROWS: Final = 100_000
_CONTRACT: Final = "EC-2041"
_CASH_NANOS: Final = 150_000 * NANOS
_BONUS_NANOS: Final = 30_000 * NANOS
_CUSTOMER: Final = "cus_demo_enterprise"
_FIRST_INSTANCE: Final = 2_200
_GPU_PROJECTS: Final = ("training", "training", "evaluation")
_OFFERS: Final = ((H100, 8, 1), (H100, 4, 2), (H100, 1, 6), (H200, 2, 2), (A100, 4, 3), (A100, 1, 4), (A100, 2, 1))
_MODELS: Final = {
    DEEPSEEK_V3: 600,
    QWEN3_235B: 420,
    LLAMA_70B: 800,
    GPT_OSS: 700,
    DEEPSEEK_R1: 110,
    MISTRAL_SMALL: 950,
    BGE_M3: 6_000,
    FLUX: 90,
    WHISPER: 130,
}
"""Calls an hour, on average."""


def scenes(rng: Random, usage: UsageDays, now: datetime, rows: int) -> Iterator[Scene]:
    """Yields the scenes in order of time: they are too many to be sorted at no cost."""
    assert LEAST_ROWS <= rows <= MOST_ROWS, "the hours of thirteen months have no more batches"
    start = now - timedelta(days=DAYS)
    others = in_order([*_grants(rng, start), *_instances(rng, start + timedelta(days=1), now, rows // 9)])
    calls = _calls(rng, usage, start + timedelta(days=1), now, rows - sum(scene.rows for scene in others))
    return heapq.merge(others, calls, key=lambda scene: scene.at)


def _grants(rng: Random, start: datetime) -> Iterator[Scene]:
    """Grants the first year by an operator, and the second by an invoice that was paid through Stripe."""
    total = f"Enterprise contract {_CONTRACT}: $150k contract → $180k total credit"
    cash, bonus = contract(_CONTRACT, _CASH_NANOS, _BONUS_NANOS)
    entries = (replace(cash, description=total), replace(bonus, description=f"{total}, with $30k as bonus_grant"))
    yield Scene(start + timedelta(hours=1), Operated("grantContract", entries), _CASH_NANOS + _BONUS_NANOS, 2)
    renewed_at = start + timedelta(days=358)
    yield Scene(renewed_at, Customer(_CUSTOMER))
    invoice, payment = stripe_id(rng, "in"), stripe_id(rng, "pi")
    paid = ContractPaid(invoice, _CUSTOMER, payment, _CONTRACT, _CASH_NANOS, _BONUS_NANOS)
    yield Scene(renewed_at, paid, _CASH_NANOS + _BONUS_NANOS, 2)


def _instances(rng: Random, first: datetime, now: datetime, count: int) -> Iterator[Scene]:
    span_seconds = int((now - first).total_seconds())
    starts = sorted(rng.randrange(span_seconds) for _ in range(count))
    for number, seconds in enumerate(starts, _FIRST_INSTANCE):
        gpu, gpus, hours = rng.choice(_OFFERS)
        project = _GPU_PROJECTS[number % len(_GPU_PROJECTS)]
        instance = GpuInstance(number, gpu, gpus, hours, first + timedelta(seconds=seconds), project)
        yield from gpu_run(rng, instance, now)
    running = GpuInstance(_FIRST_INSTANCE + count, H100, 8, 4, within_month(now, timedelta(minutes=55)), "training")
    yield running.started()


def _calls(rng: Random, usage: UsageDays, first: datetime, now: datetime, rows: int) -> Iterator[Scene]:
    """Yields exactly `rows` rows: a batch of every model in the newest hours, and a draw from the hours before."""
    models = list(_MODELS.items())
    batches = list(hourly_batches(first, now))
    slots = len(batches) * len(models)
    newest = slots - min(rows, 3 * len(models))
    drawn = sorted(rng.sample(range(newest), rows - (slots - newest)))
    for place in [*drawn, *range(newest, slots)]:
        hour, number = divmod(place, len(models))
        batch, (model, hourly) = batches[hour], models[number]
        grown = 0.5 + place / slots
        calls = some_calls(rng, model, hourly * grown * BUSY[batch.period.start.hour] / 10)
        usage.add(batch, calls)
        yield billed(calls, batch, usage.caller(batch, calls.model))
