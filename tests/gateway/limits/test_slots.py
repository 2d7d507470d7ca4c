"""Slots, against a model: whatever comes and goes, no limit is exceeded and nobody is left waiting for a free slot."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientResponse
from hypothesis import given
from hypothesis import strategies as st

from access.keys import KeyScope, Principal
from gateway.activity import Activity
from gateway.admission import EXPORT_STEPS_OF_KEY, Admission
from gateway.metrics import Metrics
from gateway.settings import Settings
from gateway.slots import Claim, Kind, QueueFull, Share, SlotLimits, Slots
from ledger.commands import Entry, Posting, Writer
from ledger.kinds import TransactionType, WriterKind
from ledger.money import NANOS
from tests.gateway.streams.conftest import Serve, serve

__all__ = ["serve"]

SHARES = {
    Kind.HEAVY: Share(1, 1, beside_others=1, of_process=5),
    Kind.EXPORT_STEP: Share(1, 2, beside_others=2, of_process=2),
}
LIMITS = SlotLimits(total=5, of_key=2, of_account=3, of_kind=SHARES, queue=3, wait_seconds=5)

ACCOUNTS = {"a": 1, "b": 1, "c": 2, "d": None}
claims = st.builds(
    lambda key, kind: Claim(key, ACCOUNTS[key], kind), st.sampled_from(sorted(ACCOUNTS)), st.sampled_from(Kind)
)


class Visit:
    """An operation that holds its slot until it is told to end."""

    def __init__(self, slots: Slots, claim: Claim) -> None:
        self.claim = claim
        self.running = False
        self.end = asyncio.Event()
        self.task = asyncio.create_task(self._run(slots))

    async def _run(self, slots: Slots) -> None:
        async with slots.taken(self.claim):
            self.running = True
            await self.end.wait()
            self.running = False


def _within(running: list[Claim]) -> bool:
    of_key = Counter(one.key for one in running if one.account is not None)
    of_account = Counter(one.account for one in running if one.account is not None)
    kinds_of_key = Counter((one.kind, one.key) for one in running if one.kind in SHARES)
    kinds_of_account = Counter((one.kind, one.account) for one in running if one.kind in SHARES and one.account)
    return (
        len(running) <= LIMITS.total
        and all(count <= LIMITS.of_key for count in of_key.values())
        and all(count <= LIMITS.of_account for count in of_account.values())
        and all(count <= SHARES[kind].of_key for (kind, _), count in kinds_of_key.items())
        and all(count <= SHARES[kind].of_account for (kind, _), count in kinds_of_account.items())
        and all(sum(one.kind is kind for one in running) <= share.of_process for kind, share in SHARES.items())
    )


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def _play(steps: list[tuple[str, Claim, int]]) -> None:
    slots = Slots(LIMITS)
    visits: list[Visit] = []
    for action, claim, number in steps:
        alive = [one for one in visits if not one.task.done()]
        if action == "come":
            visits.append(Visit(slots, claim))
        elif alive:
            one = alive[number % len(alive)]
            one.end.set() if action == "end" else one.task.cancel()
        await _settle()
        alive = [one for one in visits if not one.task.done()]
        running = [one.claim for one in alive if one.running]
        waiting = [one.claim for one in alive if not one.running]
        assert _within(running)
        assert (slots.running, slots.waiting) == (len(running), len(waiting))
        assert all(not _within([*running, one]) for one in waiting), "a slot is free that somebody waits for"
        assert max(Counter(one.key for one in waiting).values(), default=0) <= LIMITS.queue
    for one in visits:
        one.end.set()
    await asyncio.gather(*(one.task for one in visits), return_exceptions=True)
    assert (slots.running, slots.waiting) == (0, 0)


@given(st.lists(st.tuples(st.sampled_from(["come", "come", "end", "cancel"]), claims, st.integers(0, 20)), max_size=60))
def test_no_limit_is_exceeded_and_no_free_slot_is_left(steps: list[tuple[str, Claim, int]]) -> None:
    asyncio.run(_play(steps))


async def test_a_full_queue_refuses_at_once() -> None:
    refused: list[None] = []
    slots = Slots(LIMITS, lambda: refused.append(None))
    held = [Visit(slots, Claim("a", 1)) for _ in range(2 + LIMITS.queue)]
    await _settle()
    with pytest.raises(QueueFull, match="too many operations of this key are waiting"):
        async with slots.taken(Claim("a", 1)):
            pass
    assert len(refused) == 1
    for one in held:
        one.end.set()
    await asyncio.gather(*(one.task for one in held))


async def test_a_wait_has_an_end() -> None:
    slots = Slots(LIMITS._replace(wait_seconds=0.05))
    held = [Visit(slots, Claim("a", 1)) for _ in range(2)]
    await _settle()
    with pytest.raises(QueueFull, match="waited too long"):
        async with slots.taken(Claim("a", 1)):
            pass
    for one in held:
        one.end.set()
    await asyncio.gather(*(one.task for one in held))
    assert (slots.running, slots.waiting) == (0, 0)


async def test_keys_take_turns() -> None:
    """A key with a long queue gets the next slot after the key with a short one."""
    slots = Slots(LIMITS._replace(total=1, queue=10))
    order: list[str] = []

    async def visit(key: str) -> None:
        async with slots.taken(Claim(key, None)):
            order.append(key)
            await asyncio.sleep(0)

    await asyncio.gather(*(visit(key) for key in ["a"] * 6 + ["b"] * 2))
    assert order == ["a", "a", "b", "a", "b", "a", "a", "a"]


async def test_no_queue_means_that_nobody_waits_and_nothing_is_kept() -> None:
    slots = Slots(LIMITS._replace(total=1, queue=0))
    async with slots.taken(Claim("a", 1)):
        for number in range(3):
            with pytest.raises(QueueFull):
                async with slots.taken(Claim(f"b{number}", 2)):
                    pass
    assert not slots._waiting


@pytest.mark.one_database
async def test_exports_of_a_key_take_turns(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    running: Counter[Kind] = Counter()
    most: Counter[Kind] = Counter()
    count = Slots._count

    def counted(slots: Slots, claim: Claim, change: int) -> None:
        count(slots, claim, change)
        running[claim.kind] += change
        most[claim.kind] = max(most[claim.kind], running[claim.kind])

    monkeypatch.setattr(Slots, "_count", counted)
    gateway = await serve()
    entry = Entry(TransactionType.ADMIN_CORRECTION, NANOS, "A row")
    await gateway.services.ledger.post(
        Posting(gateway.account_id, Writer(WriterKind.OPERATOR, "tests"), [entry], "correctBalance")
    )
    url = f"http://127.0.0.1:{gateway.port}/billing/transactions.csv"

    async def export() -> ClientResponse:
        async with gateway.session.get(url, headers={"Authorization": f"Bearer {gateway.key}"}) as response:
            await response.read()
        return response

    answers = await asyncio.gather(*(export() for _ in range(6)))
    assert [answer.status for answer in answers] == [200] * 6
    assert most[Kind.EXPORT_STEP] == (EXPORT_STEPS_OF_KEY if gateway.services.database.is_postgresql else 1)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_customer_is_alone_until_another_is_active_and_a_second_later() -> None:
    clock = Clock()
    activity = Activity(clock)

    def alone() -> str:
        return "".join(one for one in "abc" if activity.is_alone(one))

    found = [alone()]
    for customer, seconds in (("a", 0.6), ("a", 0.6), ("b", 0.6), ("b", 0.6), ("c", 1.1)):
        activity.note(customer)
        found.append(alone())
        clock.now += seconds
        found.append(alone())
    # "a" is active until 1.6, "b" from 1.2 until 2.8, "c" from 2.4 until 3.4.
    assert found == ["abc", "a", "a", "a", "a", "", "b", "b", "b", "", "abc"]


@pytest.mark.parametrize(
    ("url", "alone", "of_process"), [("postgresql://db/billing", 2, 5), ("sqlite:///billing.db", 1, 3)]
)
async def test_exports_leave_more_to_others_while_those_are_active(
    url: str, alone: int, of_process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    settings: dict[str, Any] = {"database_url": url}
    admission = Admission(Settings(**settings), Metrics())
    exporter = Principal(1, "a", KeyScope.READ, 1, None, None, None)
    await admission.spend(exporter, 1)

    async def step(of: Principal, begun: list[None]) -> None:
        async with admission.slot(of, 1, is_export_step=True):
            begun.append(None)
            await asyncio.Event().wait()

    async def steps(*of: Principal) -> int:
        """Returns how many of the steps run at the same time."""
        begun: list[None] = []
        tasks = [asyncio.create_task(step(one, begun)) for one in of]
        await _settle()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return len(begun)

    assert await steps(*[exporter] * 3) == alone
    await admission.spend(replace(exporter, key_prefix="b"), 1)
    assert await steps(*[exporter] * 3) == alone, "a key of the same account is no other customer"
    await admission.spend(replace(exporter, key_prefix="c", account_id=2), 1)
    assert await steps(*[exporter] * 3) == 1
    of_many = [replace(exporter, key_prefix=str(number), account_id=number) for number in range(1, 11)]
    assert await steps(*of_many) == of_process
