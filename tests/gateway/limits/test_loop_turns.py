"""Turns on the event loop: one slice in each iteration, and keys in turn."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from execution import slices
from execution.planner import Planner
from execution.plans import Plan
from gateway.graphql_request import GraphQLRequest
from gateway.loop_turns import LoopTurns
from gateway.operations import find_operation, prepare_operation
from tests.gateway.streams.conftest import Gateway
from tests.gateway.streams.conftest import gateway as gateway
from tests.gateway.streams.conftest import serve as serve


class Work:
    def __init__(self) -> None:
        self.turns = LoopTurns()
        self.order: list[str] = []

    async def of(self, key: str, slices: int) -> None:
        pause = self.turns.pause_of(key)
        for _ in range(slices):
            await pause()
            self.order.append(key)


async def test_a_key_with_much_work_delays_another_by_a_slice() -> None:
    work = Work()
    crowd = [asyncio.create_task(work.of("a", 5)) for _ in range(20)]
    await asyncio.sleep(0)
    await work.of("b", 5)
    assert work.order == ["a", "b"] * 5
    await asyncio.gather(*crowd)
    assert (work.order.count("a"), work.turns.waiting) == (100, 0)


async def test_one_slice_runs_in_each_iteration() -> None:
    work = Work()
    crowd = asyncio.gather(*(work.of(str(number), 3) for number in range(10)))
    before = 0
    while not crowd.done():
        await asyncio.sleep(0)
        assert len(work.order) - before <= 1
        before = len(work.order)
    assert before == 30


async def test_work_that_is_cancelled_takes_no_turn() -> None:
    work = Work()
    tasks = [asyncio.create_task(work.of("a", 2)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.wait(tasks)
    assert (work.order, work.turns.waiting) == (["a"] * 4, 0)


async def test_requests_begin_at_once_if_the_loop_is_free_and_else_in_turn() -> None:
    turns, order = LoopTurns(), []

    async def begin(key: str) -> None:
        await turns.start(key)
        order.append(key)

    requests = [asyncio.create_task(begin(key)) for key in "aaab"]
    seen = []
    for _ in range(6):
        await asyncio.sleep(0)
        seen.append("".join(order))
    assert seen[0] == "a"
    assert max(len(after) - len(before) for before, after in pairwise(seen)) == 1
    await asyncio.gather(*requests)
    assert order == ["a", "a", "b", "a"]


async def test_requests_that_need_the_same_plan_make_it_once(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    plans, original = [], Planner.plan

    def plan(planner: Planner) -> Plan:
        plans.append(original(planner))
        return plans[-1]

    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(Planner, "plan", plan)
    services, given = gateway.services, GraphQLRequest("{ account { transactions { nodes { id } } } }", None, None)
    principal = await services.authenticator.principal(gateway.key)
    operation = await find_operation(services, principal, given)
    prepared = await asyncio.gather(*(prepare_operation(services, principal, operation, given) for _ in range(5)))
    assert [one.plan for one in prepared] == plans * 5


async def test_requests_take_the_turn_of_their_key_and_those_without_one_have_one_together(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []

    async def start(_turns: LoopTurns, key: object) -> None:
        started.append(key)

    monkeypatch.setattr(LoopTurns, "start", start)
    principal = await gateway.services.authenticator.principal(gateway.key)
    address = gateway.url.removesuffix("/graphql")
    for path in ("/graphql?query={viewer{scope}}", "/billing/transactions"):
        for key in (gateway.key, "eco_wrong", None):
            headers = {} if key is None else {"Authorization": f"Bearer {key}"}
            async with gateway.session.get(address + path, headers=headers) as response:
                assert response.status == (200 if key == gateway.key else 401)
    assert started == [principal.key_prefix, None, None] * 2
