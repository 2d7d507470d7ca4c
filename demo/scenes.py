"""What happened to an account, one call of the ledger a scene, and how scenes become a history.

A scene knows what it does to the balance, so a refill can follow where the balance falls below its threshold,
and how many rows it writes, so a later scene can name a row of an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Final, NamedTuple

from ledger.commands import Command, Entry, Writer
from ledger.kinds import TransactionType
from ledger.money import NANOS
from ledger.recharges import RechargeSettings
from ledger.stripe.notices import Notice, TopUp
from ledger.volumes import VolumeRate

_ID_LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@dataclass(frozen=True, slots=True)
class Posted:
    """What a service asks of the ledger."""

    writer: Writer
    command: Command


@dataclass(frozen=True, slots=True)
class Operated:
    """What an operator does by hand: it is noted in the audit list."""

    act: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Customer:
    """Who the account is to Stripe."""

    id: str


@dataclass(frozen=True, slots=True)
class Night:
    """The storage of the day that ended is billed."""


Told = Posted | Operated | Notice | Customer | RechargeSettings | VolumeRate | Night


class Scene(NamedTuple):
    at: datetime
    told: Told
    change_nanos: int = 0
    """What it does to the balance."""
    rows: int = 0
    label: str | None = None
    """By which a later scene names its first row."""
    corrects: str | None = None
    """The label of the row that this one answers."""


class Refill(NamedTuple):
    """Money that follows when the balance falls below the threshold."""

    threshold_nanos: int
    delay: timedelta
    scene: Callable[[datetime], Scene]


class Moment(NamedTuple):
    at: datetime
    told: Told


def correction(at: datetime, amount_nanos: int, description: str, corrects: str) -> Scene:
    entry = Entry(TransactionType.ADMIN_CORRECTION, amount_nanos, description)
    return Scene(at, Operated("correctBalance", (entry,)), amount_nanos, 1, corrects=corrects)


def stripe_id(rng: Random, prefix: str) -> str:
    return f"{prefix}_test_" + "".join(rng.choices(_ID_LETTERS, k=24))


def topup(rng: Random, at: datetime, customer: str, whole_dollars: int) -> Scene:
    paid = TopUp(stripe_id(rng, "cs"), customer, stripe_id(rng, "pi"), whole_dollars * NANOS)
    return Scene(at, paid, paid.amount_nanos, 1)


def in_order(scenes: Iterable[Scene]) -> list[Scene]:
    return sorted(scenes, key=lambda scene: scene.at)


def within_month(now: datetime, ago: timedelta) -> datetime:
    """Some time ago, but in the month of `now`, however young that is."""
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return now - min(ago, (now - month) / 2)


def _refilled(scenes: Iterable[Scene], balance_nanos: int, refill: Refill | None, now: datetime) -> Iterator[Scene]:
    """The scenes, with refills between them."""
    due: datetime | None = None
    for scene in scenes:
        if refill is not None and due is not None:
            refilling = refill.scene(min(due, scene.at))
            balance_nanos += refilling.change_nanos
            yield refilling
        yield scene
        balance_nanos += scene.change_nanos
        assert balance_nanos >= 0, "the story spends what nobody paid in"
        below = refill is not None and scene.change_nanos < 0 and balance_nanos < refill.threshold_nanos
        due = scene.at + refill.delay if refill is not None and below else None
    if refill is not None and due is not None:
        yield refill.scene(min(due, now))


def history(
    scenes: Iterable[Scene], now: datetime, signup_bonus_nanos: int = 0, refill: Refill | None = None
) -> Iterator[Moment]:
    """Of scenes that are in order of time. The signup bonus is there already."""
    labelled: dict[str, int] = {}
    seq = 2 if signup_bonus_nanos else 1
    for scene in _refilled(scenes, signup_bonus_nanos, refill, now):
        assert scene.at <= now, "the story ends now"
        told = scene.told
        if scene.label is not None:
            labelled[scene.label] = seq
        if scene.corrects is not None:
            assert isinstance(told, Operated), "only corrections say which row they answer"
            (answer,) = told.entries
            told = replace(told, entries=(replace(answer, corrects_seq=labelled[scene.corrects]),))
        seq += scene.rows
        yield Moment(scene.at, told)
