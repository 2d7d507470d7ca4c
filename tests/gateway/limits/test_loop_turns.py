"""Turns on the event loop: one slice in each iteration, and keys in turn."""

from __future__ import annotations

import asyncio

from gateway.loop_turns import LoopTurns


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
