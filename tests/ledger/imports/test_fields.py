from __future__ import annotations

import pytest

from ledger.errors import BadUserInput
from ledger.imports.fields import parse_seconds, parse_timestamp


@pytest.mark.parametrize(
    ("written", "nanos"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01 00:00:01.5", 1_500_000_000),
        ("1970-01-01T00:00:00.000000001z", 1),
        ("1970-01-02T00:00:00+0130", 81_000_000_000_000),
        ("1970-01-01T22:30:00-01:30", 86_400_000_000_000),
    ],
)
def test_timestamps_are_exact(written: str, nanos: int) -> None:
    assert parse_timestamp(written) == nanos


@pytest.mark.parametrize(
    "written",
    ["", "5", "2026-11-09", "2026-11-09T24:00:00", "2026-11-09T00:00:60", "2026-02-30T00:00:00", "2026-11-09T0:00:00",
     "2026-11-09T00:00:00.0000000001", "2026-11-09T00:00:00 CET", "٢٠٢٦-11-09T00:00:00", "2026-11-09T00:00:00+24:00"],
)  # fmt: skip
def test_invalid_timestamp_is_refused(written: str) -> None:
    with pytest.raises(BadUserInput):
        parse_timestamp(written)


@pytest.mark.parametrize(("written", "nanos"), [("0", 5), ("12.5", 12_500_000_005)])
def test_seconds_since_the_start_are_exact(written: str, nanos: int) -> None:
    assert parse_seconds(written, 5) == nanos


@pytest.mark.parametrize("written", ["", "soon", "-1", "1e3", "0.0000000001", "٣"])
def test_invalid_number_of_seconds_is_refused(written: str) -> None:
    with pytest.raises(BadUserInput, match="must be a number of seconds since --start"):
        parse_seconds(written, 0)
