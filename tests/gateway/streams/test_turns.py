"""Turns of subscriptions that read past rows, and how many operations one key may run."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import RequestError
from gateway.loop_turns import LoopTurns
from gateway.replay_turns import ReplayTurns
from tests.gateway.streams.conftest import Gateway, Serve
from tests.gateway.streams.event_client import requested
from tests.gateway.streams.socket_client import connected
from tests.gateway.streams.tap import until


class Replays:
    def __init__(self, turns: ReplayTurns) -> None:
        self._turns = turns
        self.running = {1: 0, 2: 0}
        self.most = {1: 0, 2: 0}
        self.order: list[int] = []

    async def replay(self, key_id: int, rows: int) -> None:
        for _ in range(rows):
            async with self._turns.turn(key_id):
                self.running[key_id] += 1
                self.most[key_id] = max(self.most[key_id], self.running[key_id])
                self.order.append(key_id)
                await asyncio.sleep(0.001)
                self.running[key_id] -= 1


async def test_keys_take_turns_however_many_replays_each_has() -> None:
    replays = Replays(ReplayTurns(slots=3, slots_per_key=2, most=100))
    crowd = [asyncio.create_task(replays.replay(1, 5)) for _ in range(40)]
    await asyncio.sleep(0.01)
    before = len(replays.order)
    await replays.replay(2, 10)
    assert replays.order[before:].count(1) < 60
    await asyncio.gather(*crowd)
    assert replays.most == {1: 2, 2: 1}
    assert replays.order.count(1) == 200


async def test_one_that_is_cancelled_gives_its_turn_away_and_too_many_are_refused() -> None:
    turns = ReplayTurns(slots=1, slots_per_key=1, most=2)
    replays = Replays(turns)
    async with turns.turn(1):
        waiting = [asyncio.create_task(replays.replay(2, 1)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(RequestError) as refused:
            await replays.replay(1, 1)
        assert refused.value.code == "UNAVAILABLE"
        waiting[0].cancel()
        await asyncio.wait([waiting[0]])
    await asyncio.wait_for(waiting[1], 5)
    assert replays.order == [2]
    async with asyncio.timeout(5), turns.turn(1):
        pass


async def test_a_turn_that_was_given_to_one_who_is_cancelled_goes_on() -> None:
    turns = ReplayTurns(slots=1, slots_per_key=1, most=2)
    replays = Replays(turns)
    async with turns.turn(1):
        first, second = (asyncio.create_task(replays.replay(2, 1)) for _ in range(2))
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait_for(second, 5)
    assert replays.order == [2]


async def test_a_turn_is_not_given_to_one_who_was_cancelled_in_the_same_moment() -> None:
    turns = ReplayTurns(slots=1, slots_per_key=1, most=2)
    replays = Replays(turns)
    async with turns.turn(1):
        first, second = (asyncio.create_task(replays.replay(2, 1)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
    await asyncio.wait_for(second, 5)
    assert (replays.order, turns.waiting) == ([2], 0)


async def test_a_key_runs_so_many_operations_and_others_run_on(serve: Serve) -> None:
    gateway: Gateway = await serve(max_streams_per_key=2)
    other = await gateway.new_key()
    message = "the API key has 2 open streams, which is the maximum"
    error = {"message": message, "extensions": {"code": "RATE_LIMITED", "retryAfter": 1}}
    async with connected(gateway) as client, requested(gateway):
        await client.subscribe("a")
        await gateway.tap.stream(1)
        await client.subscribe("b")
        assert await client.received() == {"type": "error", "id": "b", "payload": [error]}
        async with requested(gateway) as third:
            assert await third.next() == (None, {"errors": [error]})
        async with requested(gateway, headers={"Authorization": f"Bearer {other.secret}"}):
            await gateway.tap.stream(2)
        await client.complete("a")
        await until(lambda: gateway.metric("billing_subscribers", transport="websocket") == 0)
        await client.subscribe("c")
        await gateway.tap.stream(3)


async def test_operations_of_a_socket_begin_and_end_by_turns_of_their_key(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred messages or ends at once would each have something to do, and to write to the log."""
    taken: list[object] = []

    async def turn(_turns: LoopTurns, key: object) -> None:
        taken.append(key)
        await asyncio.sleep(0)

    monkeypatch.setattr(LoopTurns, "turn", turn)
    key = (await gateway.services.authenticator.principal(gateway.key)).key_prefix
    async with connected(gateway) as client:
        for number in range(20):
            await client.subscribe(str(number))
        await gateway.tap.stream(19)
        assert taken.count(key) >= 20
        taken.clear()
    await until(lambda: gateway.connections == 0)
    assert taken.count(key) >= 20
