"""Long work lets others run: an unknown document, and the values of a long list that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from itertools import pairwise
from typing import Any

import pytest

from execution import slices
from execution.crew import Crew
from execution.documents import DocumentRefused, Documents
from execution.limits import Limits
from execution.pending import begin
from execution.slices import breathe, in_slices, pause, pauses_by
from tests.execution.test_document_bytes import PAGE, SCHEMA


@pytest.fixture(autouse=True)
def _no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice ends at the first opportunity."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)


class Pauses:
    def __init__(self) -> None:
        self.count = 0

    async def __call__(self) -> None:
        self.count += 1
        await asyncio.sleep(0)


async def _pauses(work: Any) -> tuple[int, Any]:
    pauses = Pauses()

    async def run() -> Any:
        pauses_by(pauses)
        return await work()

    result = await asyncio.create_task(run(), context=copy_context())
    return pauses.count, result


async def test_an_unknown_document_is_checked_in_slices_and_once() -> None:
    documents = Documents(SCHEMA, Limits(), capacity=10)
    checked = 0
    original = documents._checked

    def counted(text: str) -> Any:
        nonlocal checked
        checked += 1
        return original(text)

    documents._checked = counted  # type: ignore[method-assign]
    pauses, found = await _pauses(lambda: asyncio.gather(*(documents.find(PAGE) for _ in range(3))))
    # Each token and each node is an opportunity.
    assert pauses > 300
    assert checked == 1
    assert found == [documents.get(PAGE)] * 3
    assert await _pauses(lambda: documents.find(PAGE)) == (0, found[0])


async def test_callers_that_waited_for_a_document_take_turns() -> None:
    def find(callers: int) -> Any:
        documents = Documents(SCHEMA, Limits(), capacity=10)
        return lambda: asyncio.gather(*(documents.find(PAGE) for _ in range(callers)))

    assert (await _pauses(find(5)))[0] - (await _pauses(find(1)))[0] == 4


async def test_a_refused_document_is_checked_in_slices_too() -> None:
    documents = Documents(SCHEMA, Limits(), capacity=10)
    unknown = "query ($a: Int) { account { " + " ".join(f"f{number}" for number in range(300)) + " } }"

    async def refusals() -> list[Any]:
        found: list[Any] = await asyncio.gather(*(documents.find(unknown) for _ in range(2)), return_exceptions=True)
        return found

    pauses, errors = await _pauses(refusals)
    assert pauses > 600
    assert [(type(error), len(error.errors)) for error in errors] == [(DocumentRefused, 21)] * 2


async def test_another_checks_the_document_if_the_first_caller_leaves() -> None:
    documents = Documents(SCHEMA, Limits(), capacity=10)
    first, second = asyncio.create_task(documents.find(PAGE)), asyncio.create_task(documents.find(PAGE))
    for _ in range(5):
        await asyncio.sleep(0)
    first.cancel()
    assert await second is documents.get(PAGE)
    assert first.cancelled()


async def test_work_in_slices_returns_raises_and_ends_with_its_caller() -> None:
    ended = []

    def work() -> int:
        try:
            for _ in range(10):
                breathe()
        finally:
            ended.append(True)
        return 7

    def fails() -> None:
        breathe()
        raise ValueError("no")

    assert await _pauses(lambda: in_slices(work)) == (10, 7)
    with pytest.raises(ValueError, match="no"):
        await in_slices(fails)
    cancelled = asyncio.create_task(in_slices(work))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    assert ended == [True, True]
    breathe()


async def _all_of(crew: Crew, values: list[Any]) -> Any:
    return await crew.all_of(values)


class Held:
    def __init__(self) -> None:
        self.held = 0
        self.asked_while_held: list[bool] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.held += 1
        yield
        self.held -= 1


async def test_a_crew_continues_values_in_slices_while_reads_are_held() -> None:
    held, steps, seen = Held(), 0, [0]
    crew = Crew(held)
    read = asyncio.get_running_loop().create_future()

    async def value(number: int) -> int:
        nonlocal steps
        await read
        steps += 1
        held.asked_while_held.append(held.held > 0)
        await asyncio.sleep(0)
        if number == 7:
            raise ValueError("no")
        return number

    async def others() -> None:
        while steps < 20:
            await asyncio.sleep(0)
            seen.append(steps)

    watching = asyncio.create_task(others())
    values = [begin(value(number)) for number in range(20)]
    asyncio.get_running_loop().call_soon(read.set_result, None)
    with pytest.raises(ValueError, match="no"):
        await crew.all_of(values)
    await watching
    assert steps == 20
    assert max(after - before for before, after in pairwise(seen)) == 1
    assert held.asked_while_held == [True] * 20
    assert held.held == 0
    assert await crew.all_of([begin(value(number)) for number in (1, 2)]) == [1, 2]


async def test_a_crew_that_is_closed_ends_what_waits() -> None:
    held, ended = Held(), []
    crew = Crew(held)

    async def value() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(True)

    async def closing() -> None:
        await asyncio.sleep(0)
        crew.close()

    waiting: list[Any] = [_all_of(crew, [begin(value()) for _ in range(2)]), closing()]
    found: list[Any] = await asyncio.gather(*waiting, return_exceptions=True)
    assert (type(found[0]), ended, held.held) == (asyncio.CancelledError, [True, True], 0)


async def test_a_pause_without_turns_lets_others_run() -> None:
    order = []

    async def other() -> None:
        order.append("other")

    task = asyncio.create_task(other())
    await pause()
    order.append("work")
    await task
    assert order == ["other", "work"]
