"""GPU and inference instances: their prices, their holds, and how these are settled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from random import Random
from typing import Final, NamedTuple

from demo.scenes import Posted, Scene
from ledger.attribution import Attribution
from ledger.commands import OpenHold, Period, Ref, RenewHold, SettleHold, Writer
from ledger.descriptions import dollars, duration
from ledger.kinds import RefType, WriterKind

_GPU_METERING: Final = Writer(WriterKind.SERVICE, "gpu-metering")
_INFERENCE_METERING: Final = Writer(WriterKind.SERVICE, "inference-metering")
_HOUR: Final = 3_600
_CYCLE: Final = timedelta(hours=24)
_CYCLE_SECONDS: Final = 24 * _HOUR


class Gpu(NamedTuple):
    name: str
    hour_nanos: int
    """The price of one GPU for an hour."""


RTX_4090: Final = Gpu("RTX 4090", 690_000_000)
L40S: Final = Gpu("L40S", 860_000_000)
A100: Final = Gpu("A100 80GB", 1_490_000_000)
H100: Final = Gpu("H100 80GB", 2_490_000_000)
H200: Final = Gpu("H200 141GB", 3_190_000_000)


def _time_text(seconds: int) -> str:
    return duration(timedelta(seconds=seconds))


def _cost_nanos(gpu: Gpu, gpus: int, seconds: int) -> int:
    return round(Fraction(gpu.hour_nanos * gpus * seconds, _HOUR))


@dataclass(frozen=True, slots=True)
class GpuInstance:
    number: int
    gpu: Gpu
    gpus: int
    hours: int
    """The estimated duration, which is held in advance."""
    started_at: datetime
    project: str = ""

    def started(self) -> Scene:
        held_nanos = _cost_nanos(self.gpu, self.gpus, self.hours * _HOUR)
        description = (
            f"GPU Instance #{self.number}: hold per-GPU × {self.gpus} GPU × {self.hours}h"
            f" ({dollars(self.gpu.hour_nanos)}/h per {self.gpu.name})"
        )
        period = Period(self.started_at, self.started_at + timedelta(hours=self.hours))
        command = OpenHold(self._ref, held_nanos, description, period)
        posted = Posted(_GPU_METERING, command, Attribution(project=self.project))
        return Scene(self.started_at, posted, -held_nanos, 1)

    def ended(self, ran_seconds: int, at: datetime) -> Scene:
        unused_seconds = self.hours * _HOUR - ran_seconds
        rate = f"{self.gpus} GPU × {dollars(self.gpu.hour_nanos)}/h"
        if unused_seconds > 0:
            what = f"ran {_time_text(ran_seconds)} of {self.hours}h, unused {_time_text(unused_seconds)} × {rate}"
        elif unused_seconds < 0:
            over = _time_text(-unused_seconds)
            what = f"ran {_time_text(ran_seconds)}, {over} beyond the hold of {self.hours}h × {rate}"
        else:
            what = f"ran {self.hours}h as held × {rate}"
        used_nanos = _cost_nanos(self.gpu, self.gpus, ran_seconds)
        change_nanos = _cost_nanos(self.gpu, self.gpus, self.hours * _HOUR) - used_nanos
        ended_at = self.started_at + timedelta(seconds=ran_seconds)
        command = SettleHold(self._ref, used_nanos, f"GPU Instance #{self.number}: {what}", ended_at)
        return Scene(at, Posted(_GPU_METERING, command), change_nanos, 1 if change_nanos else 0)

    @property
    def _ref(self) -> Ref:
        return Ref(RefType.GPU_INSTANCE, str(self.number))


def gpu_run(rng: Random, instance: GpuInstance, now: datetime) -> list[Scene]:
    """Returns the start and the end of an instance: early, late, or as estimated. A run beyond `now` has no end yet."""
    held_seconds = instance.hours * _HOUR
    kind = rng.random()
    if kind < 0.5:
        ran_seconds = rng.randrange(held_seconds // 8, held_seconds - 60)
    elif kind < 0.72:
        ran_seconds = held_seconds + rng.randrange(90, 45 * 60)
    else:
        ran_seconds = held_seconds
    scenes = [instance.started()]
    settled_at = instance.started_at + timedelta(seconds=ran_seconds + rng.randrange(2, 20))
    if settled_at <= now:
        scenes.append(instance.ended(ran_seconds, settled_at))
    return scenes


@dataclass(frozen=True, slots=True)
class InferenceInstance:
    """An instance that is held for 24 hours at a time, at one replica. It scales from none to two."""

    number: int
    gpu: Gpu
    gpus: int
    started_at: datetime
    stopped_at: datetime | None = None
    project: str = ""

    def life(self, rng: Random, now: datetime) -> Iterator[Scene]:
        hold_nanos = _cost_nanos(self.gpu, self.gpus, _CYCLE_SECONDS)
        yield self._opened(hold_nanos)
        cycle, until = 1, min(now, self.stopped_at or now)
        while (ends_at := self.started_at + cycle * _CYCLE + timedelta(seconds=rng.randrange(1, 25))) <= until:
            yield self._renewed(rng, cycle, ends_at, hold_nanos)
            cycle += 1
        if self.stopped_at is not None and self.stopped_at <= now:
            yield self._stopped(cycle, self.stopped_at, hold_nanos)

    def label(self, cycle: int) -> str:
        """Returns the label of the row that holds the cycle."""
        return f"inference {self.number} cycle {cycle}"

    def _hold_text(self, cycle: int) -> str:
        return (
            f"Inference Instance #{self.number}: hold per-GPU × {self.gpus} GPU × 24h, cycle {cycle}"
            f" ({dollars(self.gpu.hour_nanos)}/h per {self.gpu.name})"
        )

    def _period(self, cycle: int) -> Period:
        return Period(self.started_at + (cycle - 1) * _CYCLE, self.started_at + cycle * _CYCLE)

    def _opened(self, hold_nanos: int) -> Scene:
        command = OpenHold(self._ref, hold_nanos, self._hold_text(1), self._period(1))
        posted = Posted(_INFERENCE_METERING, command, Attribution(project=self.project))
        return Scene(self.started_at, posted, -hold_nanos, 1, self.label(1))

    def _renewed(self, rng: Random, cycle: int, at: datetime, hold_nanos: int) -> Scene:
        busy_seconds = _busy_seconds(rng)
        used_nanos = _cost_nanos(self.gpu, self.gpus, busy_seconds)
        settlement = self._settlement(cycle, busy_seconds)
        command = RenewHold(self._ref, used_nanos, settlement, hold_nanos, self._hold_text(cycle + 1))
        rows = 1 if used_nanos == hold_nanos else 2
        return Scene(at, Posted(_INFERENCE_METERING, command), -used_nanos, rows, self.label(cycle + 1))

    def _stopped(self, cycle: int, at: datetime, hold_nanos: int) -> Scene:
        busy_seconds = int((at - self._period(cycle).start).total_seconds())
        used_nanos = _cost_nanos(self.gpu, self.gpus, busy_seconds)
        command = SettleHold(self._ref, used_nanos, self._settlement(cycle, busy_seconds), at)
        change_nanos = hold_nanos - used_nanos
        return Scene(at, Posted(_INFERENCE_METERING, command), change_nanos, 1 if change_nanos else 0)

    def _settlement(self, cycle: int, busy_seconds: int) -> str:
        rate = f"{self.gpus} GPU × {dollars(self.gpu.hour_nanos)}/h"
        unused_seconds = _CYCLE_SECONDS - busy_seconds
        if unused_seconds > 0:
            what = f"ran {_time_text(busy_seconds)} of 24h, unused {_time_text(unused_seconds)} × {rate}"
        elif unused_seconds < 0:
            what = f"a second replica ran {_time_text(-unused_seconds)} beyond the hold of 24h × {rate}"
        else:
            what = f"ran 24h as held × {rate}"
        return f"Inference Instance #{self.number}: cycle {cycle} {what}"

    @property
    def _ref(self) -> Ref:
        return Ref(RefType.INFERENCE_INSTANCE, str(self.number))


def _busy_seconds(rng: Random) -> int:
    """Returns the busy time of all replicas in a cycle together."""
    kind = rng.random()
    if kind < 0.12:
        return _CYCLE_SECONDS
    if kind < 0.68:
        return _CYCLE_SECONDS - rng.randrange(20 * 60, 8 * _HOUR)
    return _CYCLE_SECONDS + rng.randrange(10 * 60, 5 * _HOUR)
