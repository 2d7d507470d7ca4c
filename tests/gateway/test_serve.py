from __future__ import annotations

import sys
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from execution import slices
from gateway import serve
from gateway.settings import Settings


@pytest.fixture(autouse=True)
def _switch_interval() -> Iterator[None]:
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


def test_a_thread_waits_less_than_a_slice_for_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[float] = []

    def run(serving: Coroutine[Any, Any, None]) -> None:
        found.append(sys.getswitchinterval())
        serving.close()

    monkeypatch.setattr("uvloop.run", run)
    monkeypatch.setattr(serve, "settle", lambda: None)
    settings: dict[str, Any] = {}
    serve.serve_here(Settings(**settings), lambda _: None)
    assert found[0] < slices.SLICE_SECONDS
