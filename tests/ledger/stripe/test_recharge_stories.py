"""Auto-recharge through whatever happens around it: a card is charged only while everything allows it, and every
payment is credited once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from random import Random
from typing import Any, Final

import pytest

from db.database import Database
from ledger.recharge_payments import SETTLED, RechargePayments
from ledger.recharges import MAX_DECLINES, RechargeSettings
from ledger.stripe.api import StripeApi
from tests.doses import dose
from tests.ledger.desk import OPERATOR, correction, usd
from tests.ledger.stripe.recharger import Recharger
from tests.stripe_objects import Object
from tests.stripe_stand_in import Fault, StandIn

EPISODES: Final = dose(10, 40)
SEEDS: Final = [1, 4, 13][: dose(1, 3)]
"""One of these stories at least fails for each rule that the program leaves out."""
PAID: Final = {"succeeded", "processing"}

Step = tuple[Any, ...]

NO_ANSWER: Final[Sequence[Fault]] = ("breaks_off", "breaks_off_and_comes_late", "cut_short", "503", "429")
USUAL: Final = ("set", "10.00", "25.00", "60.00")
"""Threshold, amount and daily limit."""


def _change(random: Random) -> Step:
    return random.choice(
        [
            ("change_status", "suspended"),
            ("switch_off",),
            ("set", "10.00", "5.00", "60.00"),
            ("set", "0.00", "25.00", "60.00"),
            ("set", "10.00", "25.00", "25.00"),
            ("bring_balance_to", "30.00"),
            ("tell",),
        ]
    )


def _work(random: Random, faults: Sequence[Fault]) -> Step:
    """A round of one worker or two, and what happens while Stripe is asked something."""
    change = _change(random) if random.random() < 0.25 else None
    return "work", random.choice(faults), random.random() < 0.3, change


def episode(random: Random) -> list[Step]:
    """A payment of which there is mostly no answer; then something changes, and changes back."""
    evening: list[Step] = [("wait_for_evening",)] if random.random() < 0.2 else []
    first = random.choice(["503", "breaks_off_and_comes_late", *NO_ANSWER, "none", "declines"])
    steps: list[Step] = [*evening, ("bring_balance_to", "4.00"), ("work", first, False, None)]
    for _ in range(random.randint(1, 3)):
        if random.random() < 0.5:
            steps.append(_change(random))
        steps += [("wait", random.choice([3, 3, 16])), _work(random, ["none", "none", *NO_ANSWER])]
    steps += [("change_status", "active"), USUAL, ("arrive",), _work(random, ["none"])]
    if random.random() < 0.8:
        steps += [("wait", random.choice([16, 65, 300])), _work(random, ["none"]), ("tell",)]
    return steps


def _nanos(made: Object) -> int:
    nanos: int = made["amount"] * 10_000_000
    return nanos


class Story:
    """One account and what happens to it."""

    def __init__(self, recharger: Recharger, other: RechargePayments, account_id: int) -> None:
        self.recharger, self.other, self.account_id = recharger, other, account_id
        self.happened: list[Step] = []
        self.made_at: dict[str, datetime] = {}
        self.told: set[str] = set()
        self.status = "active"
        self.sent_late_at = recharger.now

    async def balance_nanos(self) -> int:
        return (await self.recharger.rows(self.account_id))[-1].balance_after_nanos

    async def happen(self, step: Step) -> None:
        self.happened.append(step)
        name, *given = step
        await getattr(self, name)(*given)

    async def change_status(self, status: str) -> None:
        self.status = status
        await self.recharger.change_status(self.account_id, status)

    async def switch_off(self) -> None:
        await self.recharger.switch_off(self.account_id)

    async def set(self, *amounts: str) -> None:
        await self.recharger.set(self.account_id, RechargeSettings(*map(usd, amounts)))

    async def bring_balance_to(self, amount: str) -> None:
        nanos = usd(amount) - await self.balance_nanos()
        if nanos:
            await self.recharger.post(self.account_id, correction(nanos, "Moved"), writer=OPERATOR)

    async def tell(self) -> None:
        """Events of all payments, however often they were told already."""
        for one in self.recharger.made():
            kind = "succeeded" if one["status"] == "succeeded" else "payment_failed"
            await self.recharger.tell(f"payment_intent.{kind}", one)
            self.told.add(one["id"])

    async def arrive(self) -> None:
        """What broke off on its way is carried out at Stripe after all."""
        self.recharger.stand_in.carry_out_late()
        self.made_at |= {one["id"]: self.sent_late_at for one in self.new_payments()}

    async def wait(self, minutes: int) -> None:
        if timedelta(minutes=minutes) >= SETTLED:
            await self.arrive()
        self.recharger.now += timedelta(minutes=minutes)

    async def wait_for_evening(self) -> None:
        await self.arrive()
        evening = datetime.combine(self.recharger.now.date(), time(23, 58), UTC)
        self.recharger.now = max(self.recharger.now, evening)

    def new_payments(self) -> list[Object]:
        return [one for one in self.recharger.made() if one["id"] not in self.made_at]

    async def work(self, fault: Fault, two: bool, change: Step | None) -> None:
        stand_in = self.recharger.stand_in
        stand_in.faults_of_payments = [] if fault == "none" else [fault]
        stand_in.meanwhile = None if change is None else lambda: self.happen(change)
        is_late = bool(stand_in.late)
        workers = [self.recharger.payments, self.other][: 1 + two]
        await asyncio.gather(*(one.run() for one in workers))
        stand_in.faults_of_payments, stand_in.meanwhile = [], None
        if stand_in.late and not is_late:
            self.sent_late_at = self.recharger.now
        for one in self.new_payments():
            await self.check(one)

    async def check(self, made: Object) -> None:
        """What must hold where the payment was made in the round that has just ended."""
        before = [one for one in self.recharger.made() if one["id"] in self.made_at and one["status"] in PAID]
        self.made_at[made["id"]] = self.recharger.now
        setting = await self.recharger.setting(self.account_id)
        today = [one for one in before if self.made_at[one["id"]].date() == self.recharger.now.date()]
        allowed = {
            "the account is active": self.status == "active",
            # The payment itself may have been the third decline.
            "it is on": setting.state == ("stopped" if setting.declines == MAX_DECLINES else "active"),
            "the balance is low": await self.balance_nanos() < setting.threshold_nanos,
            "the amount is right": _nanos(made) == setting.amount_nanos,
            "the limit holds": sum(_nanos(one) for one in [*today, made]) <= setting.daily_limit_nanos,
            "no other is unknown": {one["id"] for one in before} <= self.told,
        }
        assert allowed == dict.fromkeys(allowed, True), self.happened

    async def end_well(self) -> None:
        """When everything is allowed, what is owed is paid."""
        for step in (("arrive",), ("tell",), ("change_status", "active"), ("set", "10.00", "25.00", "1000.00")):
            await self.happen(step)
        before = self.recharger.now
        while await self.balance_nanos() < usd("10.00"):
            self.recharger.now += timedelta(hours=1)
            assert self.recharger.now < before + timedelta(days=2), self.happened
            await self.work("none", False, None)
            await self.tell()
        paid = [one["id"] for one in self.recharger.made() if one["status"] == "succeeded"]
        rows = [row.ref_id for row in await self.recharger.rows(self.account_id) if row.type == "auto_recharge"]
        assert sorted(paid) == sorted(one or "" for one in rows)
        attempts = await self.recharger.attempts(self.account_id)
        assert {one.id for one in attempts if one.state == "succeeded"} == set(self.recharger.stand_in.charged())
        assert {one.state for one in attempts} <= {"succeeded", "failed"}


@pytest.mark.parametrize("seed", SEEDS)
async def test_card_is_charged_only_if_all_conditions_hold(
    database: Database, stand_in: StandIn, api: StripeApi, seed: int
) -> None:
    recharger, random = Recharger(database, stand_in, api), Random(seed)
    story = Story(recharger, RechargePayments(database, api, lambda: recharger.now), await recharger.low_account())
    for _ in range(EPISODES):
        for step in episode(random):
            await story.happen(step)
    await story.end_well()
