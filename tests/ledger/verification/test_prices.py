"""Usage figures are recomputed from quantity and price, whichever way they came."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import select

from db.attribution_tables import usage_hours, usage_prices
from ledger.ids import account_id_text
from ledger.imports.importer import Importer
from ledger.imports.options import ImportOptions
from ledger.imports.sources import Source
from ledger.prices import Prices, Rate
from ledger.usage_prices import PriceSource, UsagePrice, price_id
from ledger.verification.accounts import verify_account
from ledger.windows import SpendWindow
from tests.ledger.desk import DAY, HOUR, Desk, api_usage
from tests.ledger.recompute import differences
from tests.ledger.verification.filled import Filled, add_limit

_RATES = {"half": Rate(Decimal("0.0005")), "fine": Rate(Decimal("0.0000000005"))}
_PRICE = UsagePrice(500_000, source=PriceSource.TABLE)
"""Half a nano-dollar a token."""


async def _import(desk: Desk, account_id: int, *lines: str) -> None:
    text = "account,timestamp,model,category,input_tokens,output_tokens,cost\n" + "".join(
        f"{account_id_text(account_id)},{line}\n" for line in lines
    )
    importer = Importer(desk.database, ImportOptions(), Prices(_RATES), lambda: datetime(2026, 11, 9, tzinfo=UTC))
    (report,) = (await importer.run([Source("log.csv", io.BytesIO(text.encode()))])).files
    assert (report.taken, report.refused) == (len(lines), 0)


async def _imported(desk: Desk) -> int:
    account_id = await desk.account()
    times = [f"2026-11-05T08:00:{second:02}Z" for second in range(10)]
    lines = [f"{time},half,chat,1,0," for time in times]
    await _import(desk, account_id, *lines, *(f"{times[0]},{model},chat,3,0," for model in ("half", "fine")))
    return account_id


async def test_imported_usage_keeps_its_price(desk: Desk) -> None:
    account_id = await _imported(desk)
    hours = await desk.database.read(
        select(usage_hours.c.model, usage_hours.c.price_id, usage_hours.c.calls, usage_hours.c.cost_nanos).order_by(
            usage_hours.c.model
        )
    )
    # Each half of ten requests is rounded to zero, and one and a half to two.
    assert [tuple(row) for row in hours] == [("fine", 0, 1, 0), ("half", price_id(_PRICE), 11, 2)]
    assert await desk.database.read(select(usage_prices)) == [tuple(_PRICE.row(account_id))]
    assert await differences(desk.database) == []


@pytest.mark.parametrize(("cost_nanos", "fits"), [(0, False), (1, True), (12, True), (13, False)])
async def test_cost_of_an_hour_is_within_half_a_nano_dollar_a_call(desk: Desk, cost_nanos: int, fits: bool) -> None:
    """Eleven calls used thirteen tokens, which cost six and a half nano-dollars."""
    account_id = await _imported(desk)
    await desk.execute(f"UPDATE usage_hours SET cost_nanos = {cost_nanos} WHERE model = 'half'")
    await desk.execute(f"UPDATE usage_days SET cost_nanos = {cost_nanos} WHERE model = 'half'")
    found = [(fault.kind.value, fault.subject) for fault in (await verify_account(desk.database, account_id)).faults]
    assert found == ([] if fits else [("price", "2026-11-05T08:00:00.000000Z half chat platform")])


_CHANGES = {
    "DELETE FROM usage_hours WHERE price_id = 0": "hour",
    "DELETE FROM usage_days": "hour",
    "UPDATE usage_hours SET hour = hour + 24000": "hour",
    "INSERT INTO usage_hours SELECT account_id, -25, 1, model, category, origin, api_key, 'p', 0, 1, 2, 0, 3, 0, 0,"
    " 4, 0 FROM usage_hours WHERE price_id <> 0 LIMIT 1": "hour",
    "DELETE FROM usage_prices": "price",
    "UPDATE usage_prices SET cached_input_nanos = NULL": "price",
    "UPDATE usage_hours SET cached_input_tokens = input_tokens + 1": "price",
    "UPDATE request_details SET reasoning_tokens = output_tokens + 1": "request",
    "UPDATE request_details SET seq = 1": "request",
    "DELETE FROM usage_requests": "request",
    "DELETE FROM cost_hours WHERE ref_type = 'api_usage'": "cost",
    "UPDATE cost_hours SET api_key = api_key || 'x' WHERE ref_type = 'api_usage'": "cost",
    "UPDATE cost_hours SET ref_id = 'batch' WHERE ref_type = 'api_usage'": "cost",
    "INSERT INTO cost_hours SELECT account_id, 1, 'volume', 'v-9', '', '', 1, 0 FROM cost_hours LIMIT 1": "cost",
    "INSERT INTO cost_hours SELECT account_id, 9000000, 'volume', 'v-9', '', '', 1, 0 FROM cost_hours LIMIT 1": "cost",
    "UPDATE spend_limits SET spent_nanos = spent_nanos - 1 WHERE number = 6": "limit",
}


@pytest.mark.parametrize("change", _CHANGES)
async def test_missing_and_foreign_figures_are_found(ledger: Filled, change: str) -> None:
    assert await ledger.faults() == []
    await ledger.desk.execute(change)
    assert _CHANGES[change] in {kind for kind, _ in await ledger.subjects()}


async def test_row_of_the_window_before_does_not_count_in_a_limit(desk: Desk) -> None:
    """The clock that set the limit was ahead of the clock that posts, and between them was midnight."""
    account_id = await desk.account("100.00")
    desk.now += DAY
    await add_limit(desk, account_id, 1, SpendWindow.DAY)
    desk.now -= HOUR
    await desk.post(account_id, api_usage(5))
    assert await differences(desk.database) == []
    desk.now += HOUR
    await desk.post(account_id, api_usage(7))
    assert [limit.spent_nanos for limit in (await desk.tables()).limits] == [7]
    assert await differences(desk.database) == []
