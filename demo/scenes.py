"""Scenes of an account, each of them one call of the ledger, and the history that they become.

A scene knows its change of the balance, so a refill can follow when the balance falls below its threshold,
and how many rows it writes, so a later scene can name a row of an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Final, NamedTuple

from ledger.attribution import NOBODY, Attribution
from ledger.commands import Command, Entry, Writer
from ledger.kinds import TransactionType
from ledger.money import NANOS
from ledger.recharges import RechargeSettings
from ledger.stripe.notices import Notice, TopUp
from ledger.volumes import VolumeRate

_ID_LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@dataclass(frozen=True, slots=True)
class Posted:
    """A command that a service sends to the ledger."""

    writer: Writer
    command: Command
    attribution: Attribution = NOBODY
    """The spender, if the command opens a resource."""


@dataclass(frozen=True, slots=True)
class Operated:
    """An action of an operator by hand, which is noted in the audit list."""

    act: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Customer:
    """The customer in Stripe that stands for the account."""

    id: str


@dataclass(frozen=True, slots=True)
class Night:
    """Billing of the storage of the day that ended."""


Told = Posted | Operated | Notice | Customer | RechargeSettings | VolumeRate | Night


class Scene(NamedTuple):
    at: datetime
    told: Told
    change_nanos: int = 0
    """The change of the balance."""
    rows: int = 0
    label: str | None = None
    """The name of the first row for later scenes."""
    corrects: str | None = None
    """The label of the row that this scene corrects."""


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
    """Returns a time before `now`, but in the same month, even if the month has just begun."""
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return now - min(ago, (now - month) / 2)


def _refilled(scenes: Iterable[Scene], balance_nanos: int, refill: Refill | None, now: datetime) -> Iterator[Scene]:
    """Yields the scenes, with refills between them."""
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
    """Makes a history of scenes that are in order of time. The signup bonus is there already."""
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
