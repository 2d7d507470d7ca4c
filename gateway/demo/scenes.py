"""What happened to an account, one call of the ledger a scene, and how scenes become the orders of a history.

A scene knows what it does to the balance, so a refill can follow where the balance falls below its threshold,
and how many rows it writes, so a later scene can name a row of an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from random import Random
from typing import Final, NamedTuple

from db.database import Database
from ledger.kinds import RefType, TransactionType, WriterKind
from ledger.money import NANOS, format_nanos
from ledger.moves import Entry, Move, Order, Period, Ref, Writer
from ledger.posting import post

WEBHOOK: Final = Writer(WriterKind.WEBHOOK, "stripe-webhook")
SIGNUP: Final = Writer(WriterKind.ACCOUNT_CREATION, "account-creation")
PROMOTIONS: Final = Writer(WriterKind.SERVICE, "promotions")
OPERATIONS: Final = Writer(WriterKind.OPERATOR, "operations")

_ORDERS_A_TRANSACTION: Final = 5_000
_ID_LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class Scene(NamedTuple):
    at: datetime
    writer: Writer
    move: Move
    change_nanos: int
    """What it does to the balance."""
    rows: int
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
    """An order and the time of its rows."""

    at: datetime
    order: Order


def dollars(nanos: int) -> str:
    return f"${format_nanos(nanos)}"


def entry(
    at: datetime,
    writer: Writer,
    kind: TransactionType,
    amount_nanos: int,
    description: str,
    ref: Ref | None = None,
    *,
    period: Period | None = None,
    label: str | None = None,
    corrects: str | None = None,
) -> Scene:
    move = Entry(kind, amount_nanos, description, ref, period)
    return Scene(at, writer, move, amount_nanos, 1, label, corrects)


def stripe_id(rng: Random, prefix: str) -> str:
    return f"{prefix}_test_" + "".join(rng.choices(_ID_LETTERS, k=24))


def topup(rng: Random, at: datetime, whole_dollars: int, label: str | None = None) -> Scene:
    session = stripe_id(rng, "cs")
    description = f"Added credit: Stripe Checkout session {session}"
    ref = Ref(RefType.STRIPE_CHECKOUT_SESSION, session)
    return entry(at, WEBHOOK, TransactionType.TOPUP, whole_dollars * NANOS, description, ref, label=label)


def in_order(scenes: Iterable[Scene]) -> list[Scene]:
    return sorted(scenes, key=lambda scene: scene.at)


def within_month(now: datetime, ago: timedelta) -> datetime:
    """Some time ago, but in the month of `now`, however young that is."""
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return now - min(ago, (now - month) / 2)


def _refilled(scenes: Iterable[Scene], refill: Refill | None, now: datetime) -> Iterator[Scene]:
    """The scenes, with refills between them."""
    balance_nanos = 0
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


def history(account_id: int, scenes: Iterable[Scene], now: datetime, refill: Refill | None = None) -> Iterator[Moment]:
    """Of scenes that are in order of time."""
    labelled: dict[str, int] = {}
    seq = 1
    for scene in _refilled(scenes, refill, now):
        assert scene.at <= now, "the story ends now"
        move = scene.move
        if scene.label is not None:
            labelled[scene.label] = seq
        if scene.corrects is not None:
            assert isinstance(move, Entry), "only an entry answers another row"
            move = replace(move, corrects_seq=labelled[scene.corrects])
        seq += scene.rows
        yield Moment(scene.at, Order(account_id, scene.writer, (move,), "demo"))


async def play(database: Database, moments: Iterable[Moment]) -> None:
    """Posts a history of one account, each order at its own time. What is told is forgotten: it stays small."""
    moments = iter(moments)
    while some := list(islice(moments, _ORDERS_A_TRANSACTION)):
        clock = iter([moment.at for moment in some]).__next__
        async with database.write() as connection:
            await post(connection, [moment.order for moment in some], clock)
