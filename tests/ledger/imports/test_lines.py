"""Prices of lines whose log has no cost."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from ledger.imports.lines import LogLine, Parser
from ledger.imports.options import ImportOptions
from ledger.imports.records import Record
from ledger.prices import PricePeriod, Prices, Rate
from ledger.usage_prices import PriceSource, UsagePrice

_JULY = datetime(2026, 7, 1, tzinfo=UTC)
_PRICES = Prices(
    {
        "changing": [PricePeriod(Rate(Decimal(1)), valid_until=_JULY), PricePeriod(Rate(Decimal(2)), _JULY)],
        "fine": Rate(Decimal("0.0000000005")),
    }
)
_HEADER = ["account", "timestamp", "model", "category", "input_tokens", "output_tokens", "cost"]


def _line(time: str, model: str, tokens: int, cost: str = "") -> LogLine:
    parser = Parser(_HEADER, ImportOptions(), _PRICES, date(2026, 11, 9))
    return parser.request(Record(2, ["acct_7", time, model, "chat", str(tokens), "0", cost]))


def _priced(line: LogLine) -> tuple[int, str, UsagePrice | None]:
    return line.cost_nanos, line.unpriced, line.price


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (
            "2026-06-30T23:59:59.999999999Z",
            (3_000, "", UsagePrice(10**9, valid_until=_JULY, source=PriceSource.TABLE)),
        ),
        ("2026-07-01T00:00:00Z", (6_000, "", UsagePrice(2 * 10**9, valid_from=_JULY, source=PriceSource.TABLE))),
        ("2026-07-01T01:59:59+02:00", (3_000, "", UsagePrice(10**9, valid_until=_JULY, source=PriceSource.TABLE))),
    ],
)
def test_line_has_the_price_of_its_time(time: str, expected: tuple[int, str, UsagePrice]) -> None:
    assert _priced(_line(time, "changing", 3)) == expected


def test_cost_of_a_log_has_no_price() -> None:
    assert _priced(_line("2026-07-01T00:00:00Z", "changing", 3, "0.5")) == (500_000_000, "", None)


def test_price_finer_than_nano_dollars_gives_a_cost_only() -> None:
    """3 million tokens cost one and a half nano-dollars."""
    assert _priced(_line("2026-07-01T00:00:00Z", "fine", 3_000_000)) == (2, "", None)


def test_line_without_a_price_says_why() -> None:
    reason = "no price for the model 'nonsense-x': add one to the --prices file"
    assert _priced(_line("2026-07-01T00:00:00Z", "nonsense-x", 3)) == (0, reason, None)
