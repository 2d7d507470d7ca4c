from __future__ import annotations

import asyncio

import pytest

from gateway.streams.cancel_scope import Leash
from gateway.streams.live import Ending


async def _held(leash: Leash, seconds: float = 30) -> str:
    try:
        async with leash:
            await asyncio.sleep(seconds)
            return "done"
    except TimeoutError:
        return f"run out: {leash.has_run_out}"


async def test_what_is_pulled_ends_and_the_first_who_pulls_counts() -> None:
    leash = Leash()
    task = asyncio.create_task(_held(leash))
    await asyncio.sleep(0.01)
    leash.pull(Ending.KEY)
    leash.pull(Ending.STOPPING)
    assert (await task, leash.ending) == ("run out: True", Ending.KEY)


async def test_what_is_pulled_before_it_begins_ends_where_it_first_waits() -> None:
    leash = Leash()
    leash.pull(Ending.STOPPING)
    assert (await _held(leash), leash.ending) == ("run out: True", Ending.STOPPING)


async def test_what_is_over_is_pulled_no_more() -> None:
    leash = Leash()
    assert await _held(leash, 0) == "done"
    leash.pull(Ending.KEY)
    assert (leash.ending, leash.has_run_out) == (None, False)


async def test_it_runs_out_by_itself_unless_it_is_let_go() -> None:
    leash = Leash(0.05)
    assert (await _held(leash), leash.ending) == ("run out: True", None)
    leash.pull(Ending.KEY)
    assert leash.ending is None

    leash = Leash(0.2)
    task = asyncio.create_task(_held(leash))
    await asyncio.sleep(0.01)
    leash.let_go()
    await asyncio.sleep(0.4)
    assert not task.done()
    leash.pull(Ending.LEFT)
    leash.let_go()
    assert (await task, leash.ending) == ("run out: True", Ending.LEFT)


async def test_time_that_somebody_else_ran_out_of_is_not_its_own() -> None:
    leash = Leash()
    with pytest.raises(TimeoutError):
        async with leash:
            raise TimeoutError
    assert (leash.has_run_out, leash.ending) == (False, None)


async def test_being_cancelled_is_something_else() -> None:
    leash = Leash()
    task = asyncio.create_task(_held(leash))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not leash.has_run_out
