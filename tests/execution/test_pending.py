from __future__ import annotations

import asyncio
import inspect

import pytest

from execution.pending import begin


@pytest.mark.parametrize("coroutine_first", [True, False])
async def test_abandoned_coroutines_may_be_closed_in_any_order(coroutine_first: bool) -> None:
    """As garbage is, whose order nobody knows."""
    ended = []

    async def waiting() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("waiting")

    coroutine = waiting()
    waiter = begin(coroutine).__await__()
    waiter.send(None)
    for one in (coroutine, waiter) if coroutine_first else (waiter, coroutine):
        one.close()
    assert ended == ["waiting"]
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


async def test_thrown_error_reaches_the_coroutine_which_may_wait_again() -> None:
    first, second = asyncio.get_running_loop().create_future(), asyncio.get_running_loop().create_future()

    async def waiting() -> str:
        try:
            await first
        except ValueError as error:
            return f"{error} {await second}"
        return "not reached"

    begun = begin(waiting())
    first.set_exception(ValueError("no"))
    asyncio.get_running_loop().call_soon(second.set_result, "yes")
    assert await begun == "no yes"
