"""API calls: what they cost, the ledger row of each batch of them, and the days that they add up to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from random import Random
from typing import Final, NamedTuple

from db.attribution_rows import UsageHourRow, UsagePriceRow
from db.hours import hour_of
from db.rows import DayKey, UsageFigures
from demo.callers import caller
from demo.scenes import Posted, Scene
from ledger.attribution import NOBODY, Attribution
from ledger.commands import Period, Writer
from ledger.descriptions import dollars
from ledger.ids import account_id_text
from ledger.kinds import UsageCategory, UsageOrigin, WriterKind
from ledger.metering import usage_entry
from ledger.money import format_nanos
from ledger.usage_prices import NO_PRICE, PriceSource, UsagePrice, price_id

_API_METERING: Final = Writer(WriterKind.SERVICE, "api-metering")
_HOUR: Final = timedelta(hours=1)
_MILLION: Final = 1_000_000

HEADER: Final = "account,day,model,category,origin,calls,input_tokens,output_tokens,cost_usd\n"

BUSY: Final = (4, 3, 2, 2, 2, 3, 5, 8, 12, 15, 17, 17, 16, 17, 18, 18, 17, 15, 13, 11, 10, 8, 7, 5)
"""How busy each hour of a UTC day is; 10 is the average."""


class Model(NamedTuple):
    name: str
    category: UsageCategory
    input_nanos: int = 0
    """The price of a token: 1,000 nano-dollars are $1.00 per million."""
    output_nanos: int = 0
    call_nanos: int = 0
    input_tokens: int = 0
    """Average per call; the same for `output_tokens`."""
    output_tokens: int = 0
    cached_nanos: int = 0
    cached_percent: int = 0
    """Part of the input tokens that were cached."""
    reasoning_percent: int = 0
    """Part of the output tokens that were reasoning."""

    @property
    def price(self) -> UsagePrice:
        cached = self.cached_nanos * _MILLION if self.cached_percent else None
        rates = (self.input_nanos * _MILLION, cached, self.output_nanos * _MILLION)
        return UsagePrice(*rates, call_nanos=self.call_nanos, source=PriceSource.TABLE)


_C = UsageCategory
DEEPSEEK_V3: Final = Model("DeepSeek-V3.1", _C.CHAT, 270, 1_100, 0, 1_900, 520, 70, 35)
DEEPSEEK_R1: Final = Model("DeepSeek-R1", _C.CHAT, 550, 2_190, 0, 700, 1_700, reasoning_percent=70)
GPT_OSS: Final = Model("gpt-oss-120b", _C.CHAT, 100, 500, 0, 1_400, 610, reasoning_percent=40)
LLAMA_70B: Final = Model("Llama-3.3-70B-Instruct", _C.CHAT, 130, 400, 0, 1_150, 340)
MISTRAL_SMALL: Final = Model("Mistral-Small-3.2-24B", _C.CHAT, 80, 200, 0, 820, 260)
QWEN3_235B: Final = Model("Qwen3-235B-A22B", _C.CHAT, 200, 600, 0, 1_600, 480)
QWEN3_32B: Final = Model("Qwen3-32B", _C.CHAT, 100, 300, 0, 1_250, 410)
BGE_M3: Final = Model("bge-m3", _C.EMBEDDING, 10, 0, 0, 390, 0)
QWEN3_EMBEDDING: Final = Model("Qwen3-Embedding-8B", _C.EMBEDDING, 50, 0, 0, 460, 0)
FLUX: Final = Model("FLUX.1-schnell", _C.IMAGE, 0, 0, 3_000_000)
WHISPER: Final = Model("whisper-large-v3", _C.AUDIO, 0, 0, 1_800_000)
WAN: Final = Model("Wan2.2-T2V-A14B", _C.VIDEO, 0, 0, 240_000_000)


class Calls(NamedTuple):
    """Calls of one model in some time, and their tokens."""

    model: Model
    calls: int
    input_tokens: int
    output_tokens: int

    @property
    def cached_tokens(self) -> int:
        return self.input_tokens * self.model.cached_percent // 100

    @property
    def reasoning_tokens(self) -> int:
        return self.output_tokens * self.model.reasoning_percent // 100

    @property
    def cost_nanos(self) -> int:
        model, calls, input_tokens, output_tokens = self
        cached = self.cached_tokens
        input_nanos = (input_tokens - cached) * model.input_nanos + cached * model.cached_nanos
        return calls * model.call_nanos + input_nanos + output_tokens * model.output_nanos


def some_calls(rng: Random, model: Model, about: float) -> Calls:
    calls = 1 + int(about * (0.6 + 0.8 * rng.random()))
    spread = 0.85 + 0.3 * rng.random()
    return Calls(model, calls, int(calls * model.input_tokens * spread), int(calls * model.output_tokens * spread))


def _rate_text(model: Model) -> str:
    if model.call_nanos:
        return f"{dollars(model.call_nanos)} per call"
    per_million = dollars(model.input_nanos * _MILLION)
    cached = f" ({dollars(model.cached_nanos * _MILLION)} cached)" if model.cached_percent else ""
    if model.output_nanos:
        return f"{per_million} in{cached} and {dollars(model.output_nanos * _MILLION)} out per 1M tokens"
    return f"{per_million} per 1M tokens"


_RATES: Final = {
    model: _rate_text(model)
    for model in (
        DEEPSEEK_V3, DEEPSEEK_R1, GPT_OSS, LLAMA_70B, MISTRAL_SMALL, QWEN3_235B,
        QWEN3_32B, BGE_M3, QWEN3_EMBEDDING, FLUX, WHISPER, WAN,
    )
}  # fmt: skip


class Batch(NamedTuple):
    """The time that a batch covers, and when it is posted."""

    period: Period
    posted_at: datetime
    name: str
    day: date

    @property
    def hour(self) -> int:
        return hour_of(self.period.start)


def billed(calls: Calls, batch: Batch, who: Attribution) -> Scene:
    """Returns the ledger row of one model's batch, as a metering service writes it."""
    model = calls.model
    cached = f" ({calls.cached_tokens:,} cached)" if calls.cached_tokens else ""
    tokens = f"{calls.input_tokens:,} in{cached} + {calls.output_tokens:,} out tokens, " if calls.input_tokens else ""
    description = f"API usage {model.name}: {calls.calls:,} calls, {tokens}{_RATES[model]}"
    figures = UsageFigures(calls.calls, calls.input_tokens, calls.output_tokens, calls.cost_nanos)
    move = usage_entry(
        f"{batch.name}-{model.name}",
        {model.name},
        figures,
        batch.period,
        description,
        [(who, -calls.cost_nanos)] if who != NOBODY else (),
    )
    return Scene(batch.posted_at, Posted(_API_METERING, move), move.amount_nanos, 1)


def _batch(start: datetime, end: datetime, posted_at: datetime) -> Batch:
    return Batch(Period(start, end), posted_at, f"{start:%Y%m%dT%H%M}", start.date())


def hourly_batches(first: datetime, now: datetime) -> Iterator[Batch]:
    """Yields a batch for each full hour, and one for the past part of the present hour. None crosses midnight."""
    start = first.replace(minute=0, second=0, microsecond=0)
    while (end := start + _HOUR) <= now:
        yield _batch(start, end, end + min(timedelta(seconds=40), (now - end) / 2))
        start = end
    if now - start >= timedelta(minutes=2):
        yield _batch(start, start + (now - start) * 0.8, start + (now - start) * 0.9)


class UsageDays:
    """One account's days, as the lines of a rollup file, and the hours of the newest of them."""

    def __init__(self, account_id: int, callers: tuple[Attribution, ...], hours_since: date = date.max) -> None:
        self.callers = callers
        self._account_id = account_id
        self._since = hours_since
        self._days: dict[tuple[date, Model, UsageOrigin], list[int]] = {}
        self._hours: dict[tuple[int, Model, UsageOrigin, Attribution], list[int]] = {}

    def caller(self, batch: Batch, model: Model) -> Attribution:
        """Returns who made the calls, as far as it is known: services have reported it since the hours are known."""
        return caller(self.callers, model.name, batch.hour) if batch.day >= self._since else NOBODY

    def add(self, batch: Batch, calls: Calls, origin: UsageOrigin = UsageOrigin.PLATFORM) -> None:
        """Adds calls. Calls of an account's own instances cost nothing: the instances do."""
        cost = calls.cost_nanos if origin == UsageOrigin.PLATFORM else 0
        model, *figures = calls
        _add(self._days.setdefault((batch.day, model, origin), [0, 0, 0, 0]), (*figures, cost))
        if batch.day >= self._since:
            parts = (calls.calls, calls.input_tokens, calls.cached_tokens, calls.output_tokens, calls.reasoning_tokens)
            key = (batch.hour, model, origin, self.caller(batch, model))
            _add(self._hours.setdefault(key, [0] * 7), (*parts, 0, cost))

    def lines(self) -> Iterator[str]:
        account = account_id_text(self._account_id)
        for (day, model, origin), (calls, input_tokens, output_tokens, cost_nanos) in self._days.items():
            cost = format_nanos(cost_nanos)
            yield (
                f"{account},{day},{model.name},{model.category.value},{origin.value},"
                f"{calls},{input_tokens},{output_tokens},{cost}\n"
            )

    def parted_days(self) -> list[DayKey]:
        """Returns the days whose hours are known."""
        return [
            (self._account_id, day, model.name, model.category.value, origin.value)
            for day, model, origin in self._days
            if day >= self._since
        ]

    def hours(self) -> list[UsageHourRow]:
        return [
            UsageHourRow(
                *(self._account_id, hour, 1, model.name, model.category.value, origin.value),
                *who,
                price_id(model.price) if origin == UsageOrigin.PLATFORM else NO_PRICE,
                *figures,
            )
            for (hour, model, origin, who), figures in self._hours.items()
        ]

    def prices(self) -> list[UsagePriceRow]:
        models = {model for _, model, origin, _ in self._hours if origin == UsageOrigin.PLATFORM}
        return [model.price.row(self._account_id) for model in sorted(models)]


def _add(sums: list[int], figures: Iterable[int]) -> None:
    for place, figure in enumerate(figures):
        sums[place] += figure
