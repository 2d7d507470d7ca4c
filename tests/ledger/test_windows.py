from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.windows import SpendWindow, resets_at, window_start

_MOMENTS = st.datetimes(
    datetime(2020, 1, 1),  # noqa: DTZ001 - Hypothesis draws between naive ones
    datetime(2040, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        (SpendWindow.DAY, "2026-12-31", "2027-01-01"),
        (SpendWindow.WEEK, "2026-12-28", "2027-01-04"),
        (SpendWindow.MONTH, "2026-12-01", "2027-01-01"),
    ],
)
def test_window_of_new_years_eve(window: SpendWindow, start: str, end: str) -> None:
    moment = _at("2026-12-31T23:59:59.999999")
    assert (window_start(window, moment), resets_at(window, moment)) == (_at(start), _at(end))


def test_total_never_resets() -> None:
    assert window_start(SpendWindow.TOTAL, _at("2026-12-31")) == _at("1970-01-01")
    assert resets_at(SpendWindow.TOTAL, _at("2026-12-31")) is None


def test_windows_are_of_utc() -> None:
    moment = datetime(2026, 12, 1, 1, tzinfo=timezone(timedelta(hours=9)))
    assert window_start(SpendWindow.MONTH, moment) == _at("2026-11-01")


@pytest.mark.parametrize("window", [SpendWindow.DAY, SpendWindow.WEEK, SpendWindow.MONTH])
@given(moment=_MOMENTS)
def test_windows_follow_each_other_without_gaps(window: SpendWindow, moment: datetime) -> None:
    start, end = window_start(window, moment), resets_at(window, moment)
    assert end is not None
    assert start <= moment < end
    assert window_start(window, end) == end
    assert window_start(window, end - timedelta(microseconds=1)) == start
