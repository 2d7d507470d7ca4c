"""The inference-heavy account: instances in 24-hour cycles for 90 days, storage, and a card that is recharged."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from fractions import Fraction
from random import Random
from typing import Final, NamedTuple

from gateway.demo.calls import (
    BGE_M3,
    BUSY,
    DEEPSEEK_V3,
    FLUX,
    QWEN3_32B,
    QWEN3_EMBEDDING,
    WAN,
    WHISPER,
    Calls,
    Model,
    UsageDays,
    billed,
    hourly_batches,
    some_calls,
)
from gateway.demo.machines import A100, H100, L40S, RTX_4090, InferenceInstance
from gateway.demo.scenes import (
    OPERATIONS,
    PROMOTIONS,
    SIGNUP,
    WEBHOOK,
    Refill,
    Scene,
    dollars,
    entry,
    stripe_id,
    topup,
    within_month,
)
from ledger.kinds import RefType, TransactionType, UsageOrigin, WriterKind
from ledger.money import NANOS
from ledger.moves import Period, Ref, Writer

DAYS: Final = 94
_CYCLE_DAYS: Final = 90
_THRESHOLD_NANOS: Final = 200 * NANOS
_RECHARGE_NANOS: Final = 250 * NANOS
_STORAGE_WORKER: Final = Writer(WriterKind.STORAGE_WORKER, "storage-worker")

_PLATFORM: Final = {DEEPSEEK_V3: 900, QWEN3_EMBEDDING: 3_000, FLUX: 150, WHISPER: 90, WAN: 4}
_OWN: Final = {QWEN3_32B: 21_000, BGE_M3: 64_000, FLUX: 1_300}
"""Calls a day of the models that its own instances serve."""


class _Store(NamedTuple):
    ref: Ref
    name: str
    gigabytes: int
    month_nanos: int
    """The price of a gigabyte for a month."""
    grows_by: int
    """Gigabytes every ten days."""


_STORES: Final = (
    _Store(Ref(RefType.VOLUME, "14"), "Cloud drive #14", 500, 70_000_000, 0),
    _Store(Ref(RefType.VOLUME, "19"), "Cloud drive #19", 120, 70_000_000, 20),
    _Store(Ref(RefType.SHARED_FILESYSTEM, "3"), "Shared filesystem #3", 1_024, 100_000_000, 64),
)


def refill(rng: Random) -> Refill:
    def recharge(at: datetime) -> Scene:
        payment = stripe_id(rng, "pi")
        description = (
            f"Auto-recharge of {dollars(_RECHARGE_NANOS)}: the balance fell below {dollars(_THRESHOLD_NANOS)}"
            f" (Stripe payment {payment})"
        )
        ref = Ref(RefType.STRIPE_PAYMENT_INTENT, payment)
        return entry(at, WEBHOOK, TransactionType.AUTO_RECHARGE, _RECHARGE_NANOS, description, ref)

    return Refill(_THRESHOLD_NANOS, timedelta(seconds=35), recharge)


def scenes(rng: Random, usage: UsageDays, now: datetime) -> Iterator[Scene]:
    start = now - timedelta(days=DAYS)
    bonus = "Signup bonus: $25.00 of credit for a new account"
    signup = Ref(RefType.PROMOTION, "signup-bonus")
    yield entry(start + timedelta(seconds=3), SIGNUP, TransactionType.BONUS, 25 * NANOS, bonus, signup)
    yield topup(rng, start + timedelta(hours=1), 500)
    promotion = Ref(RefType.PROMOTION, "first-inference-instance")
    bonus = "Promotion: $50.00 of credit for the first inference instance"
    yield entry(now - timedelta(days=89), PROMOTIONS, TransactionType.BONUS, 50 * NANOS, bonus, promotion)
    instances = _instances(now)
    for instance in instances:
        yield from instance.life(rng, now)
    yield from _storage(now)
    yield from _platform_calls(rng, usage, start + timedelta(hours=2), now)
    yield from _card_refund(rng, now)
    yield _correction(instances[1], now)
    _own_calls(rng, usage, now)


def _instances(now: datetime) -> list[InferenceInstance]:
    first = now - timedelta(days=_CYCLE_DAYS)
    return [
        InferenceInstance(41, L40S, 1, first - timedelta(hours=3)),
        InferenceInstance(42, H100, 1, first - timedelta(minutes=95)),
        InferenceInstance(45, A100, 2, first + timedelta(days=3, hours=5)),
        InferenceInstance(47, RTX_4090, 1, first + timedelta(days=1, hours=14)),
        InferenceInstance(52, L40S, 1, now - timedelta(days=60, hours=9), now - timedelta(days=12, minutes=48)),
        InferenceInstance(58, L40S, 1, within_month(now, timedelta(hours=5))),
    ]


def _storage(now: datetime) -> Iterator[Scene]:
    """Each day is billed just after its end."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for age in range(_CYCLE_DAYS, -1, -1):
        end = midnight - timedelta(days=age)
        start = end - timedelta(days=1)
        for place, store in enumerate(_STORES):
            at = end + min(timedelta(minutes=5, seconds=2 * place), (now - end) / 2)
            yield _stored(store, (_CYCLE_DAYS - age) // 10, Period(start, end), at)


def _stored(store: _Store, steps: int, period: Period, at: datetime) -> Scene:
    gigabytes = store.gigabytes + steps * store.grows_by
    days = _days_of_month(period.start)
    amount_nanos = round(Fraction(gigabytes * store.month_nanos, days))
    description = (
        f"{store.name}: {gigabytes:,} GB × {dollars(store.month_nanos)} per GB-month ÷ {days} days,"
        f" {period.start.date()}"
    )
    kind = TransactionType.STORAGE_BILLING
    return entry(at, _STORAGE_WORKER, kind, -amount_nanos, description, store.ref, period=period)


def _days_of_month(moment: datetime) -> int:
    return ((moment.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)).day


def _platform_calls(rng: Random, usage: UsageDays, first: datetime, now: datetime) -> Iterator[Scene]:
    models = list(_PLATFORM)
    batches = list(hourly_batches(first, now))
    for place, batch in enumerate(batches):
        present = place >= len(batches) - 2
        for number, model in enumerate(models):
            # A model a while: with all of them every hour these rows would drown the instances.
            if present or (batch.period.start.hour == 8 + 2 * number and rng.random() < 0.55):
                calls = some_calls(rng, model, _PLATFORM[model])
                usage.add(batch.day, calls)
                yield billed(calls, batch)


def _own_calls(rng: Random, usage: UsageDays, now: datetime) -> None:
    for batch in hourly_batches(now - timedelta(days=_CYCLE_DAYS), now):
        for model, daily in _OWN.items():
            usage.add(batch.day, _served(rng, model, daily, batch.period), UsageOrigin.USER_INFERENCE)


def _served(rng: Random, model: Model, daily: int, period: Period) -> Calls:
    hours = (period.end - period.start) / timedelta(hours=1)
    return some_calls(rng, model, daily / 24 * BUSY[period.start.hour] / 10 * hours)


def _card_refund(rng: Random, now: datetime) -> Iterator[Scene]:
    """Credit bought twice by mistake goes back to the card: two rows, as `refund` adds to the balance."""
    paid_at = now - timedelta(days=41, hours=2)
    amount_nanos = 300 * NANOS
    paid = topup(rng, paid_at, 300, label="bought twice")
    yield paid
    charge, refund = stripe_id(rng, "ch"), stripe_id(rng, "re")
    description = f"Stripe refund {refund} of charge {charge}: top-up of {dollars(amount_nanos)} on {paid_at.date()}"
    yield entry(
        paid_at + timedelta(days=1),
        WEBHOOK,
        TransactionType.REFUND,
        amount_nanos,
        description,
        Ref(RefType.STRIPE_REFUND, refund),
        label="card refund",
        corrects="bought twice",
    )
    reason = (
        f"Stripe refund {refund} sent {dollars(amount_nanos)} of unspent credit back to the card:"
        f" the refund row and the credit are taken off, 2 × {dollars(amount_nanos)}"
    )
    yield entry(
        paid_at + timedelta(days=1, minutes=18),
        OPERATIONS,
        TransactionType.ADMIN_CORRECTION,
        -2 * amount_nanos,
        reason,
        Ref(RefType.STRIPE_REFUND, refund),
        corrects="card refund",
    )


def _correction(instance: InferenceInstance, now: datetime) -> Scene:
    amount_nanos = 3 * instance.gpus * instance.gpu.hour_nanos
    reason = (
        f"Billing error: Inference Instance #{instance.number} was charged while its node was down in cycle 70:"
        f" 3h × {instance.gpus} GPU × {dollars(instance.gpu.hour_nanos)}/h given back"
    )
    at = now - timedelta(days=18)
    return entry(at, OPERATIONS, TransactionType.ADMIN_CORRECTION, amount_nanos, reason, corrects=instance.label(70))
