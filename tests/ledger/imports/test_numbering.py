from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.imports.numbering import Numbering


@pytest.mark.parametrize("step", [1, -1])
def test_ordered_lines_are_numbered_in_bounded_memory(step: int) -> None:
    numbering = Numbering(window=10)
    times = [10**9 + step * (index // 3) for index in range(3000)]
    assert [numbering.number(1, time, b"x") for time in times] == [1, 2, 3] * 1000
    assert len(numbering._seen) <= 10


def test_lines_of_one_timestamp_may_exceed_the_window() -> None:
    numbering = Numbering(window=10)
    lines = [index.to_bytes(2) for index in range(100)]
    assert [numbering.number(1, 5, line) for line in lines + lines] == [1] * 100 + [2] * 100


def test_each_account_is_numbered_separately() -> None:
    numbering = Numbering()
    assert [numbering.number(account, 5, b"x") for account in (1, 2, 1)] == [1, 1, 2]


@given(st.lists(st.integers(0, 40), max_size=200), st.integers(2, 20))
def test_number_is_correct_or_none(times: list[int], window: int) -> None:
    numbering = Numbering(window)
    seen: Counter[int] = Counter()
    for time in times:
        seen[time] += 1
        assert numbering.number(1, time, b"x") in {seen[time], None}
