from __future__ import annotations

import asyncio

import pytest

from gateway.streams.cancel_scope import CancelScope
from gateway.streams.live import Ending


async def _held(cancel_scope: CancelScope, seconds: float = 30) -> str:
    try:
        async with cancel_scope:
            await asyncio.sleep(seconds)
            return "done"
    except TimeoutError:
        return f"run out: {cancel_scope.has_expired}"


async def test_a_cancelled_scope_ends_and_the_first_reason_counts() -> None:
    cancel_scope = CancelScope()
    task = asyncio.create_task(_held(cancel_scope))
    await asyncio.sleep(0.01)
    cancel_scope.cancel(Ending.KEY)
    cancel_scope.cancel(Ending.STOPPING)
    assert (await task, cancel_scope.ending) == ("run out: True", Ending.KEY)


async def test_a_scope_cancelled_before_it_begins_ends_where_it_first_waits() -> None:
    cancel_scope = CancelScope()
    cancel_scope.cancel(Ending.STOPPING)
    assert (await _held(cancel_scope), cancel_scope.ending) == ("run out: True", Ending.STOPPING)


async def test_a_finished_scope_is_not_cancelled() -> None:
    cancel_scope = CancelScope()
    assert await _held(cancel_scope, 0) == "done"
    cancel_scope.cancel(Ending.KEY)
    assert (cancel_scope.ending, cancel_scope.has_expired) == (None, False)


async def test_a_scope_times_out_unless_it_is_released() -> None:
    cancel_scope = CancelScope(0.05)
    assert (await _held(cancel_scope), cancel_scope.ending) == ("run out: True", None)
    cancel_scope.cancel(Ending.KEY)
    assert cancel_scope.ending is None

    cancel_scope = CancelScope(0.5)
    task = asyncio.create_task(_held(cancel_scope))
    # Until it waits, and no longer.
    await asyncio.sleep(0)
    cancel_scope.lift_deadline()
    await asyncio.sleep(0.7)
    assert not task.done()
    cancel_scope.cancel(Ending.LEFT)
    cancel_scope.lift_deadline()
    assert (await task, cancel_scope.ending) == ("run out: True", Ending.LEFT)


async def test_time_that_somebody_else_ran_out_of_is_not_its_own() -> None:
    cancel_scope = CancelScope()
    with pytest.raises(TimeoutError):
        async with cancel_scope:
            raise TimeoutError
    assert (cancel_scope.has_expired, cancel_scope.ending) == (False, None)


async def test_being_cancelled_is_something_else() -> None:
    cancel_scope = CancelScope()
    task = asyncio.create_task(_held(cancel_scope))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not cancel_scope.has_expired
