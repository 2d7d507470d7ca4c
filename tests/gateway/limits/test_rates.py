"""Token buckets: never more than the rate allows, and never less than it promises."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway import rates
from gateway.rates import Buckets, Rate, RateExceeded

RATE = Rate(10, 100)

calls = st.lists(st.tuples(st.floats(0, 30), st.floats(0.1, 150)), max_size=60)


@example([(2.00001, 55.0), (1.4640704712088972, 100.0), (0.0, 80.0)])
@given(calls)
def test_a_key_spends_what_the_rate_allows_and_no_more(calls: list[tuple[float, float]]) -> None:
    now = 0.0
    buckets = Buckets(lambda: now)
    spent = 0.0
    for pause, points in calls:
        now += pause
        before = buckets.balance("key", RATE).remaining
        try:
            buckets.spend("key", points, RATE)
            spent += points
        except RateExceeded as error:
            assert before < min(points, RATE.burst)
            assert buckets.balance("key", RATE).remaining == before  # a refusal costs nothing
            retry_at = now + error.retry_after_seconds
            now, waited = retry_at, now
            buckets.spend("key", points, RATE)  # the time that was told is enough
            now = max(now, waited)
            spent += points
        assert spent <= RATE.burst + now * RATE.points_per_second + 150


def test_a_call_beyond_the_burst_needs_a_full_bucket() -> None:
    now = 0.0
    buckets = Buckets(lambda: now)
    assert buckets.spend("key", 150, RATE).remaining == -50
    now = 14.9
    with pytest.raises(RateExceeded) as refused:
        buckets.spend("key", 150, RATE)
    assert refused.value.retry_after_seconds == 1
    now = 15.0
    buckets.spend("key", 150, RATE)


def test_buckets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MAX_BUCKETS", 3)
    buckets = Buckets(lambda: 0.0)
    for number in range(10):
        buckets.spend(str(number), 60, RATE)
    assert [buckets.balance(str(number), RATE).remaining for number in (0, 6, 7, 9)] == [100, 100, 40, 40]
