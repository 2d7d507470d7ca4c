"""Random stories of authorizations, captures, holds, usage and limits, compared with a model in plain Python.

`LIMIT_STORIES=500` tells that many instead of 6; a failure names the seed and the step.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Final

import pytest

from db.limits import read_reservations
from ledger.attribution import Attribution
from ledger.commands import AuthorizeUsage, Period, Ref, ReleaseAuthorization
from ledger.commands import OpenHold as Open
from ledger.errors import BillingError, LimitExceeded
from ledger.kinds import RefType
from ledger.money import format_nanos
from ledger.spending import scope_of, spent_nanos
from ledger.windows import SpendWindow
from tests.ledger.desk import DAY, HOUR, Desk, settle
from tests.ledger.recompute import differences
from tests.ledger.test_authorizations import limits, put_limit, record, send

STORIES: Final = int(os.environ.get("LIMIT_STORIES", "6"))
STEPS: Final = 60
LIMITS: Final = (
    (Attribution(), SpendWindow.MONTH, 60),
    (Attribution("key-1"), SpendWindow.DAY, 12),
    (Attribution(project="red"), SpendWindow.WEEK, 25),
    (Attribution("key-2", "red"), SpendWindow.TOTAL, 9),
)
UNIT: Final = 10**9


@dataclass
class Reservation:
    who: Attribution
    left: int
    ends: datetime
    is_open: bool = True


@dataclass
class Model:
    """The rules of ledger.md, by adding up everything anew for each question."""

    balance: int
    costs: list[tuple[datetime, Attribution, int]] = field(default_factory=list)
    reservations: list[Reservation] = field(default_factory=list)
    holds: dict[str, tuple[Attribution, int]] = field(default_factory=dict)

    def reserved(self, scope: Attribution, now: datetime) -> int:
        return sum(
            max(one.left, 0) for one in self.reservations if one.is_open and one.ends > now and scope.covers(one.who)
        )

    def spent(self, number: int, now: datetime) -> int:
        scope, window, _ = LIMITS[number]
        monday = now.date() - timedelta(days=now.weekday())
        first = {
            SpendWindow.DAY: now.date(),
            SpendWindow.WEEK: monday,
            SpendWindow.MONTH: now.date().replace(day=1),
            SpendWindow.TOTAL: now.date().replace(year=1970),
        }[window]
        return sum(nanos for at, who, nanos in self.costs if at.date() >= first and scope.covers(who))

    def refusal(self, who: Attribution, nanos: int, now: datetime) -> str | None:
        """Returns the expected error, or None if the amount may be committed."""
        if self.balance - self.reserved(Attribution(), now) < nanos:
            return "INSUFFICIENT_BALANCE"
        remaining = {
            number: amount * UNIT - self.spent(number, now) - self.reserved(scope, now)
            for number, (scope, _, amount) in enumerate(LIMITS)
            if scope.covers(who)
        }
        number = min(remaining, key=lambda one: remaining[one])
        if remaining[number] >= nanos:
            return None
        return f"LIMIT_EXCEEDED limit_{number + 1} {format_nanos(remaining[number])}"

    def spend(self, who: Attribution, nanos: int, now: datetime) -> None:
        self.balance -= nanos
        self.costs.append((now, who, nanos))


class Story:
    def __init__(self, desk: Desk, account_id: int, seed: int, balance: int) -> None:
        self.desk, self.account_id, self.random = desk, account_id, Random(seed)
        self.model = Model(balance)
        self.steps = 0

    def who(self) -> Attribution:
        return Attribution(self.random.choice(["", "key-1", "key-2"]), self.random.choice(["", "red", "blue"]))

    def nanos(self) -> int:
        return self.random.randint(1, 8) * UNIT - self.random.choice([0, 1])

    async def met(self, call: Awaitable[object]) -> str | None:
        """Returns the refusal as the model names it."""
        try:
            await call
        except LimitExceeded as error:
            number = error.limit.rpartition("_")[2]
            return f"{error.code} limit_{number} {error.remaining}"
        except BillingError as error:
            return error.code
        return None

    async def authorize(self) -> None:
        who, nanos, seconds = self.who(), self.nanos(), self.random.choice([60, 3_600, 86_400])
        expected = self.model.refusal(who, nanos, self.desk.now)
        command = AuthorizeUsage(nanos, seconds)
        assert await self.met(send(self.desk, self.account_id, command, who)) == expected
        if expected is None:
            ends = self.desk.now + timedelta(seconds=seconds)
            self.model.reservations.append(Reservation(who, nanos, ends))

    async def capture(self) -> None:
        if not self.model.reservations:
            return
        number = self.random.randrange(len(self.model.reservations))
        one, nanos, final = self.model.reservations[number], self.nanos(), self.random.random() < 0.5
        expected = None if one.is_open and one.ends > self.desk.now else "CONFLICT"
        name = f"request {self.steps}"
        cost = format_nanos(nanos)
        call = record(self.desk, self.account_id, name, cost, authorization=number + 1, final=final)
        assert await self.met(call) == expected
        if expected is None:
            self.model.spend(one.who, nanos, self.desk.now)
            one.left -= nanos
            one.is_open = not final and one.left > 0

    async def release(self) -> None:
        if not self.model.reservations:
            return
        number = self.random.randrange(len(self.model.reservations))
        one = self.model.reservations[number]
        expected = None if one.is_open else "CONFLICT"
        assert await self.met(send(self.desk, self.account_id, ReleaseAuthorization(number + 1))) == expected
        one.is_open = False

    async def hold(self) -> None:
        who, nanos, ref = self.who(), self.nanos(), f"g-{self.steps}"
        expected = self.model.refusal(who, nanos, self.desk.now)
        period = Period(self.desk.now, self.desk.now + HOUR)
        command = Open(Ref(RefType.GPU_INSTANCE, ref), nanos, None, period)
        assert await self.met(send(self.desk, self.account_id, command, who)) == expected
        if expected is None:
            self.model.spend(who, nanos, self.desk.now)
            self.model.holds[ref] = who, nanos

    async def settle(self) -> None:
        if not self.model.holds:
            return
        ref = self.random.choice(sorted(self.model.holds))
        who, held = self.model.holds.pop(ref)
        used = self.random.randint(0, held + UNIT)
        await self.desk.post(self.account_id, settle(used, Ref(RefType.GPU_INSTANCE, ref)))
        self.model.spend(who, used - held, self.desk.now)

    async def use(self) -> None:
        """Records usage that nobody authorized: it is never refused."""
        key, nanos = self.random.choice(["key-1", "key-2"]), self.nanos() // 4
        await record(self.desk, self.account_id, f"request {self.steps}", format_nanos(nanos), key=key)
        self.model.spend(Attribution(key), nanos, self.desk.now)

    async def wait(self) -> None:
        self.desk.now += self.random.choice([timedelta(seconds=59), HOUR, 5 * HOUR, DAY])

    async def step(self) -> None:
        self.steps += 1
        acts = [self.authorize, self.authorize, self.capture, self.release, self.hold, self.settle, self.use, self.wait]
        await self.random.choice(acts)()

    async def compare(self) -> None:
        """Compares what is stored with the model."""
        now, database = self.desk.now, self.desk.database
        stored = await limits(database)
        assert [spent_nanos(one, now) for one in stored] == [self.model.spent(one.number - 1, now) for one in stored]
        async with database.write() as connection:
            found = (await read_reservations(connection, [self.account_id], now))[self.account_id]
        for scope in {scope_of(one) for one in stored}:
            reserved = sum(one.reserved_nanos for one in found if scope.covers(scope_of(one)))
            assert reserved == self.model.reserved(scope, now)


@pytest.mark.parametrize("seed", range(STORIES))
async def test_stories_go_as_the_model_says(desk: Desk, seed: int) -> None:
    account_id = await desk.account("80.00")
    for number, (who, window, amount) in enumerate(LIMITS, 1):
        await put_limit(desk.database, account_id, number, format_nanos(amount * UNIT), who, window)
    story = Story(desk, account_id, seed, 80 * UNIT)
    try:
        for _ in range(STEPS):
            await story.step()
            await story.compare()
    except AssertionError as error:
        error.add_note(f"seed {seed}, step {story.steps}")
        raise
    assert await differences(desk.database) == []
