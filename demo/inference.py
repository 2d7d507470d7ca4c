"""The inference-heavy account: instances in 24-hour cycles for 90 days, storage, and a card that is recharged."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Final, NamedTuple

from demo.calls import (
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
from demo.machines import A100, H100, L40S, RTX_4090, InferenceInstance
from demo.scenes import (
    Customer,
    Night,
    Posted,
    Refill,
    Scene,
    correction,
    stripe_id,
    topup,
    within_month,
)
from ledger.commands import Period, Ref, Writer
from ledger.descriptions import dollars
from ledger.grants import bonus
from ledger.kinds import RefType, UsageOrigin, WriterKind
from ledger.money import NANOS
from ledger.rates import DAY, Stretch, cost_nanos
from ledger.recharges import RechargeSettings
from ledger.stripe.notices import Recharge, Refund, TopUp
from ledger.volumes import VolumeRate

DAYS: Final = 94
SIGNUP_BONUS_NANOS: Final = 25 * NANOS
_CUSTOMER: Final = "cus_demo_inference"
_CYCLE_DAYS: Final = 90
_RECHARGES: Final = RechargeSettings(200 * NANOS, 250 * NANOS, 1_000 * NANOS)
_PROMOTIONS: Final = Writer(WriterKind.SERVICE, "promotions")

_PLATFORM: Final = {DEEPSEEK_V3: 900, QWEN3_EMBEDDING: 3_000, FLUX: 150, WHISPER: 90, WAN: 4}
_OWN: Final = {QWEN3_32B: 21_000, BGE_M3: 64_000, FLUX: 1_300}
"""Calls a day of the models that its own instances serve."""


class _Store(NamedTuple):
    ref: Ref
    gib: int
    price_nanos: int
    """The price of a GiB for a day."""
    grows_by: int
    """GiB every ten days."""


_STORES: Final = (
    _Store(Ref(RefType.VOLUME, "14"), 500, 2_300_000, 0),
    _Store(Ref(RefType.VOLUME, "19"), 120, 2_300_000, 20),
    _Store(Ref(RefType.SHARED_FILESYSTEM, "3"), 1_024, 3_300_000, 64),
)


def refill(rng: Random) -> Refill:
    def recharge(at: datetime) -> Scene:
        paid = Recharge(stripe_id(rng, "pi"), stripe_id(rng, "recharge"), _RECHARGES.amount_nanos, _CUSTOMER)
        return Scene(at, paid, paid.amount_nanos, 1)

    return Refill(_RECHARGES.threshold_nanos, timedelta(seconds=35), recharge)


def scenes(rng: Random, usage: UsageDays, now: datetime) -> Iterator[Scene]:
    start = now - timedelta(days=DAYS)
    yield Scene(start + timedelta(minutes=50), Customer(_CUSTOMER))
    yield topup(rng, start + timedelta(hours=1), _CUSTOMER, 500)
    yield Scene(start + timedelta(hours=1), _RECHARGES)
    text = "Promotion: $50.00 of credit for the first inference instance"
    promoted = Posted(_PROMOTIONS, bonus(50 * NANOS, "first-inference-instance", text))
    yield Scene(now - timedelta(days=89), promoted, 50 * NANOS, 1)
    instances = _instances(now)
    for instance in instances:
        yield from instance.life(rng, now)
    yield from _storage(now)
    yield from _platform_calls(rng, usage, start + timedelta(hours=2), now)
    yield from _card_refund(rng, now)
    yield _node_was_down(instances[1], now)
    _own_calls(rng, usage, now)


def _instances(now: datetime) -> list[InferenceInstance]:
    first = now - timedelta(days=_CYCLE_DAYS)
    return [
        InferenceInstance(41, L40S, 1, first - timedelta(hours=3), project="assistant"),
        InferenceInstance(42, H100, 1, first - timedelta(minutes=95), project="assistant"),
        InferenceInstance(45, A100, 2, first + timedelta(days=3, hours=5), project="search"),
        InferenceInstance(47, RTX_4090, 1, first + timedelta(days=1, hours=14), project="search"),
        InferenceInstance(
            52, L40S, 1, now - timedelta(days=60, hours=9), now - timedelta(days=12, minutes=48), "assistant"
        ),
        InferenceInstance(58, L40S, 1, within_month(now, timedelta(hours=5))),
    ]


def _storage(now: datetime) -> Iterator[Scene]:
    """Bills each day just after its end. Sizes grow at midnight, before the day is billed."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for age in range(_CYCLE_DAYS, -1, -1):
        end = midnight - timedelta(days=age)
        start = end - timedelta(days=1)
        sizes = {store: store.gib + (_CYCLE_DAYS - age) // 10 * store.grows_by for store in _STORES}
        if (_CYCLE_DAYS - age) % 10 == 0:
            for store, gib in sizes.items():
                if age == _CYCLE_DAYS or store.grows_by:
                    yield Scene(start, VolumeRate(store.ref, gib, store.price_nanos))
        costs = [_day_nanos(Stretch(start, end, gib, store.price_nanos)) for store, gib in sizes.items()]
        yield Scene(end + min(timedelta(minutes=5), (now - end) / 2), Night(), -sum(costs), len(costs))


def _day_nanos(day: Stretch) -> int:
    return cost_nanos([day], DAY, "the price of a day")


def _platform_calls(rng: Random, usage: UsageDays, first: datetime, now: datetime) -> Iterator[Scene]:
    models = list(_PLATFORM)
    batches = list(hourly_batches(first, now))
    for place, batch in enumerate(batches):
        present = place >= len(batches) - 2
        for number, model in enumerate(models):
            # One model at a time: with all models every hour, these rows would hide the rows of the instances.
            if present or (batch.period.start.hour == 8 + 2 * number and rng.random() < 0.55):
                calls = some_calls(rng, model, _PLATFORM[model])
                usage.add(batch, calls)
                yield billed(calls, batch, usage.caller(batch, calls.model))


def _own_calls(rng: Random, usage: UsageDays, now: datetime) -> None:
    for batch in hourly_batches(now - timedelta(days=_CYCLE_DAYS), now):
        for model, daily in _OWN.items():
            usage.add(batch, _served(rng, model, daily, batch.period), UsageOrigin.USER_INFERENCE)


def _served(rng: Random, model: Model, daily: int, period: Period) -> Calls:
    hours = (period.end - period.start) / timedelta(hours=1)
    return some_calls(rng, model, daily / 24 * BUSY[period.start.hour] / 10 * hours)


def _card_refund(rng: Random, now: datetime) -> Iterator[Scene]:
    """Credit bought twice by mistake goes back to the card: two rows, as `refund` adds to the balance."""
    paid_at = now - timedelta(days=41, hours=2)
    paid = TopUp(stripe_id(rng, "cs"), _CUSTOMER, stripe_id(rng, "pi"), 300 * NANOS)
    yield Scene(paid_at, paid, paid.amount_nanos, 1)
    refund = Refund(stripe_id(rng, "re"), stripe_id(rng, "ch"), paid.payment_intent, _CUSTOMER, paid.amount_nanos)
    yield Scene(paid_at + timedelta(days=1), refund, refund.amount_nanos, 1, "card refund")
    amount = dollars(paid.amount_nanos)
    reason = (
        f"Stripe refund {refund.id} sent {amount} of unspent credit back to the card:"
        f" the refund row and the credit are taken off, 2 × {amount}"
    )
    yield correction(paid_at + timedelta(days=1, minutes=18), -2 * paid.amount_nanos, reason, "card refund")


def _node_was_down(instance: InferenceInstance, now: datetime) -> Scene:
    amount_nanos = 3 * instance.gpus * instance.gpu.hour_nanos
    reason = (
        f"Billing error: Inference Instance #{instance.number} was charged while its node was down in cycle 70:"
        f" 3h × {instance.gpus} GPU × {dollars(instance.gpu.hour_nanos)}/h given back"
    )
    return correction(now - timedelta(days=18), amount_nanos, reason, instance.label(70))
